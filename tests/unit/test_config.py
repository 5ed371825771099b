"""Settings from the environment: documented defaults, and error messages for invalid values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.config import SettingsError, load_settings


@pytest.fixture(autouse=True)
def without_settings_of_this_machine(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("FER_"):
            monkeypatch.delenv(name)


def load(monkeypatch, **variables: str):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings(os.environ)


def test_load_settings_has_the_documented_defaults(monkeypatch):
    settings = load(monkeypatch)
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, Path("models/fer_vgg.onnx"))
    assert (settings.device, settings.max_body_bytes, settings.max_pixels) == ("auto", 20 * 2**20, 40_000_000)
    assert (settings.detector, settings.detector_model) == ("haar", None)
    assert (settings.max_images, settings.max_batch, settings.max_queue) == (32, 64, 256)
    assert (settings.deadline_ms, settings.drain_s) == (5000, 5)
    assert (settings.api_keys, settings.cors_origins, settings.log_format) == ((), (), None)


def test_load_settings_reads_the_environment(monkeypatch):
    settings = load(monkeypatch, FER_PORT="9000", FER_API_KEYS=" one, two ,", FER_CORS_ORIGINS="https://a.example")
    assert settings.port == 9000
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.cors_origins == ("https://a.example",)


def test_load_settings_unknown_variable_is_refused_with_its_name(monkeypatch):
    with pytest.raises(SettingsError, match="FER_PORTT"):
        load(monkeypatch, FER_PORTT="9000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FER_PORT", "many"),
        ("FER_DEVICE", "gpu"),
        ("FER_DETECTOR", "opencv"),
        ("FER_MAX_BATCH", "0"),
        ("FER_DEADLINE_MS", "-1"),
        ("FER_LOG_FORMAT", "xml"),
        ("FER_HOST", ""),
        ("FER_DRAIN_S", "inf"),
        ("FER_CORS_ORIGINS", "https://b.example/"),
        ("FER_CORS_ORIGINS", "b.example"),
    ],
)
def test_load_settings_invalid_value_is_refused_with_name_and_value(monkeypatch, name, value):
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["FER_API_KEYS", "FER_ADMIN_KEYS"])
@pytest.mark.parametrize("value", [",", " , ", "schlüssel", "two words", "good,schlüssel"])
def test_load_settings_invalid_keys_are_refused_without_their_text(monkeypatch, name, value):
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **{name: value})
    assert name in str(caught.value)
    assert "schl" not in str(caught.value)


def test_load_settings_empty_value_is_an_empty_list(monkeypatch):
    settings = load(monkeypatch, FER_API_KEYS="", FER_CORS_ORIGINS=" ")
    assert (settings.api_keys, settings.cors_origins) == ((), ())


@pytest.mark.parametrize("origins", ["*", "http://localhost:3000,https://a.example", "null"])
def test_load_settings_accepts_origins_in_the_form_of_browsers(monkeypatch, origins):
    assert ",".join(load(monkeypatch, FER_CORS_ORIGINS=origins).cors_origins) == origins


def test_load_settings_protected_metrics_need_a_key(monkeypatch):
    with pytest.raises(SettingsError, match="FER_PROTECT_METRICS"):
        load(monkeypatch, FER_PROTECT_METRICS="true")
    assert load(monkeypatch, FER_PROTECT_METRICS="true", FER_API_KEYS="key").protect_metrics


def test_settings_hide_keys_in_their_representation(monkeypatch):
    assert "hunter2" not in repr(load(monkeypatch, FER_API_KEYS="hunter2"))


def test_settings_are_frozen(monkeypatch):
    settings = load(monkeypatch)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FER_UDS", "fer.sock", "an absolute path"),
        ("FER_UDS", "/" + "a" * 107, "at most 107 bytes"),
        ("FER_ROOT_PATH", "faces", "a path such as /fer"),
        ("FER_ROOT_PATH", "/a b", "a path such as /fer"),
        ("FER_TRUSTED_PROXIES", "proxy.example", "IP addresses and networks"),
        ("FER_TRUSTED_PROXIES", "10.0.0.1/8", "IP addresses and networks"),
        ("FER_KEEP_ALIVE_S", "0", "greater than or equal to 1"),
        ("FER_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_load_settings_of_addresses_and_logs_are_checked(monkeypatch, name, value, message):
    with pytest.raises(SettingsError, match=f"{name}.*{message}"):
        load(monkeypatch, **{name: value})


def test_load_settings_log_level_ignores_the_case(monkeypatch):
    assert load(monkeypatch, FER_LOG_LEVEL="WARNING").log_level == "warning"


def test_load_settings_root_path_ends_without_a_slash(monkeypatch):
    assert load(monkeypatch, FER_ROOT_PATH="/").root_path == ""
    assert load(monkeypatch, FER_ROOT_PATH="/a/b/").root_path == "/a/b"


@pytest.mark.parametrize("kind", ["API", "ADMIN"])
def test_load_settings_reads_keys_from_a_file(monkeypatch, tmp_path, kind):
    file = tmp_path / "keys"
    file.write_text("one\ntwo, three\r\n\n")
    settings = load(monkeypatch, **{f"FER_{kind}_KEYS_FILE": str(file)})
    keys = settings.api_keys if kind == "API" else settings.admin_keys
    assert [key.get_secret_value() for key in keys] == ["one", "two", "three"]
    assert "two" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"FER_API_KEYS_FILE: .* cannot be read \(FileNotFoundError\)"),
        (b"", "FER_API_KEYS_FILE: expected keys, one in each line"),
        (b" \n,\n", "FER_API_KEYS_FILE: expected keys, one in each line"),
        (b"\xff\xfe", r"FER_API_KEYS_FILE: .* cannot be read \(UnicodeDecodeError\)"),
        (b"secret key", "FER_API_KEYS: .*printable ASCII characters"),
    ],
)
def test_load_settings_bad_key_file_is_refused_without_its_content(monkeypatch, tmp_path, content, message):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as refused:
        load(monkeypatch, FER_API_KEYS_FILE=str(file))
    assert "secret" not in str(refused.value)


def test_load_settings_keys_and_their_file_together_are_refused(monkeypatch, tmp_path):
    with pytest.raises(SettingsError, match=r"expected FER_API_KEYS or FER_API_KEYS_FILE\. Received: both"):
        load(monkeypatch, FER_API_KEYS="one", FER_API_KEYS_FILE=str(tmp_path / "keys"))


def test_load_settings_protected_metrics_accept_keys_from_a_file(monkeypatch, tmp_path):
    file = tmp_path / "keys"
    file.write_text("one")
    assert load(monkeypatch, FER_API_KEYS_FILE=str(file), FER_PROTECT_METRICS="true").protect_metrics


def test_load_settings_yunet_needs_its_file(monkeypatch):
    with pytest.raises(SettingsError, match="FER_DETECTOR=yunet needs the path of its ONNX file in FER_DETECTOR_MODEL"):
        load(monkeypatch, FER_DETECTOR="yunet")
    settings = load(monkeypatch, FER_DETECTOR="yunet", FER_DETECTOR_MODEL="yunet.onnx")
    assert (settings.detector, settings.detector_model) == ("yunet", Path("yunet.onnx"))
