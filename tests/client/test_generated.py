"""Clients that generators write from openapi.json: they are generated, compile, and work with the service.

`make test-generated` installs the generators into `.venv-generators`. Without them the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.images import encoded, picture
from tests.support.paths import REPOSITORY

GENERATORS = REPOSITORY / ".venv-generators"
PYTHON = GENERATORS / "bin" / "python"
TSC = GENERATORS / "node_modules" / ".bin" / "tsc"
DRIVERS = Path(__file__).parent / "drivers"
DOCUMENT = REPOSITORY / "openapi.json"

# What every driver prints for an image with two faces.
EXPECTED = {
    "form": [2, "EMOTION", 40, True],
    "json": 1,
    "query": 1,
    "header": 2,
    "nulls": [None, None, None, None],
    "warnings": ["no_face_detected"],
    "doubt": ["uncertain", True],
    "batch_form": ["EMOTION", "unsupported_image_format"],
    "batch_json": ["EMOTION", "invalid_base64"],
    "errors": ["unsupported_image_format", "invalid_base64"],
    "metrics": True,
    "info": ["fake", "ready", "ok"],
}


def run(*command: object, **environment: str) -> str:
    """Run a program; return its output, or fail with it."""
    ended = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"PATH": f"{GENERATORS / 'bin'}{os.pathsep}{os.environ['PATH']}"} | environment,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def generator(name: str) -> Path:
    """Return the path of a generator, or skip the test."""
    path = GENERATORS / "bin" / name
    if not path.exists():
        pytest.skip(f"{name} is not installed: run make test-generated")
    return path


@pytest.fixture
def check(make_server, tmp_path):
    """Return a function that runs a driver against the service, and checks what its client returned."""
    (tmp_path / "image.png").write_bytes(encoded(picture(2)))
    (tmp_path / "empty.png").write_bytes(encoded(picture(0, columns=8, rows=6)))

    def check_driver(*command: object, **environment: str) -> None:
        url = make_server()
        returned = json.loads(run(*command, url, tmp_path / "image.png", tmp_path / "empty.png", **environment))
        assert json.dumps(returned).replace(f'"{returned["form"][1]}"', '"EMOTION"') == json.dumps(EXPECTED)

    return check_driver


def test_python_client_of_openapi_generator(check, tmp_path):
    program, target = generator("openapi-generator-cli"), tmp_path / "client"
    run(program, "generate", "-i", DOCUMENT, "-g", "python", "-o", target)
    run(PYTHON, "-m", "compileall", "-q", target)
    check(PYTHON, DRIVERS / "openapi_generator_python.py", PYTHONPATH=str(target))


def test_typescript_client_of_openapi_generator(check, tmp_path):
    program, target = generator("openapi-generator-cli"), tmp_path / "client"
    if not TSC.exists() or shutil.which("node") is None:
        pytest.skip("TypeScript or Node.js is not installed: run make test-generated")
    run(program, "generate", "-i", DOCUMENT, "-g", "typescript-fetch", "-o", target / "src")
    shutil.copy(DRIVERS / "typescript_fetch.ts", target / "src")
    options = ["--strict", "--target", "es2022", "--module", "commonjs", "--lib", "es2022,dom"]
    run(TSC, *options, "--outDir", target / "js", target / "src" / "typescript_fetch.ts")
    check("node", target / "js" / "typescript_fetch.js")


def test_client_of_openapi_python_client(check, tmp_path):
    program, target = generator("openapi-python-client"), tmp_path / "client"
    run(program, "generate", "--path", DOCUMENT, "--output-path", target)
    run(PYTHON, "-m", "compileall", "-q", target)
    check(PYTHON, DRIVERS / "openapi_python_client.py", PYTHONPATH=str(target))
