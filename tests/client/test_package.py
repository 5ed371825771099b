"""Tests of the client's package: the built wheel works in an environment of its own, without the network."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import httpx2
import pytest

from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "clients" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(PACKAGE)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_installed_wheel_is_imported_and_typed(wheel, tmp_path):
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    program = (
        "import fer_client, importlib.resources as r; from fer_client import *; FerClient('http://127.0.0.1:1').close();"
        "print(fer_client.__file__, r.files('fer_client').joinpath('py.typed').is_file())"
    )
    # httpx2 is the client's only dependency; it comes from this environment, because tests work offline.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(httpx2.__file__).parent.parent)}
    done = subprocess.run(
        [python, "-c", program], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    path, typed = done.stdout.split()
    assert Path(path).is_relative_to(tmp_path / "env")
    assert typed == "True"


def test_wheel_has_only_the_client_and_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        headers = email.message_from_bytes(archive.read(metadata))
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert folders == {"fer_client", f"fer_client-{project['version']}.dist-info"}
    required = [line for line in headers.get_all("Requires-Dist") if "extra ==" not in line]
    assert required == ["httpx2<3,>=2.16"]
    assert headers.get_all("Provides-Extra") == ["stream", "video"]
    assert version("httpx2") == httpx2.__version__
