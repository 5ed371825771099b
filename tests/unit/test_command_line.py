"""The command line of `python -m app`, and the application factory for other ASGI servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from app.__main__ import main
from app.config import load_settings
from app.main import API_VERSION, create_app_from_env
from tests.support.fakes import FakeClassifier
from tests.support.paths import REPOSITORY
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def without_changes_of_the_process(monkeypatch):
    """Keep the logging of pytest."""
    monkeypatch.setattr("app.process.configure_logging", lambda log_format, level: None)


def test_help_lists_the_options(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--host", "--port", "--model", "FER_"))


def test_version_is_that_of_the_api(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fer-serve {API_VERSION}\n"


BAD_ARGUMENTS = [["--nonsense"], ["serve"], ["--port", "many"], ["--port"]]


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_unknown_arguments_are_refused_with_the_usage(arguments, capsys, monkeypatch):
    monkeypatch.setenv("FER_LOG_FORMAT", "text")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m app" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_unknown_arguments_are_one_line_of_a_json_log(arguments, capsys, monkeypatch, caplog):
    monkeypatch.setenv("FER_LOG_FORMAT", "json")
    assert main(arguments) == 2
    assert capsys.readouterr().err == ""
    assert [record.message[:24] for record in caplog.records] == ["fer-serve cannot start: "]


def test_option_with_a_bad_value_is_refused_like_its_variable(caplog):
    assert main(["--port", "99999"]) == 2
    assert "FER_PORT: Input should be less than or equal to 65535. Received: 99999" in caplog.text


def test_options_override_the_environment(monkeypatch):
    monkeypatch.setenv("FER_PORT", "1111")
    monkeypatch.setenv("FER_HOST", "0.0.0.0")
    settings = load_settings({"FER_PORT": "1111", "FER_HOST": "0.0.0.0"}, {"port": 2222})
    assert (settings.port, settings.host) == (2222, "0.0.0.0")


def test_model_option_selects_the_model_file():
    ended = subprocess.run(
        [sys.executable, "-m", "app", "--port", "0", "--model", "no/such.onnx"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    message = json.loads(ended.stderr.splitlines()[-1])["message"]
    assert message == "fer-serve cannot serve: model file no/such.onnx does not exist"


def test_factory_reads_the_environment(monkeypatch):
    monkeypatch.setenv("FER_MAX_IMAGES", "7")
    monkeypatch.setattr("app.main.open_session", lambda settings, threads: FakeClassifier())
    monkeypatch.setattr("app.main.configure_logging", lambda log_format, level: None)
    with TestClient(create_app_from_env()) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/info").json()["limits"]["max_images"] == 7


def test_a_missing_detector_file_ends_the_start_with_its_path():
    ended = subprocess.run(
        [sys.executable, "-m", "app", "--port", "0"],
        cwd=REPOSITORY,
        env=os.environ | {"FER_DETECTOR": "yunet", "FER_DETECTOR_MODEL": "no/yunet.onnx"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "fer-serve cannot serve: expected the model file of YuNet" in ended.stderr
    assert "no/yunet.onnx" in ended.stderr
    assert "Traceback" not in ended.stderr
