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
