"""Settings, ports and devices with which `python -m app` cannot serve: exit status and last line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import onnxruntime
import pytest

from tests.support.network import free_port
from tests.support.paths import REPOSITORY
from tests.support.process import service_environment


@pytest.mark.parametrize(
    ("settings", "reason", "status"),
    [
        ({"FER_PORTT": "1"}, "unknown setting FER_PORTT", 2),
        ({"FER_MAX_QUEUE": "none"}, "FER_MAX_QUEUE", 2),
        ({"FER_MODEL": "models/none.onnx"}, "models/none.onnx does not exist", 3),
    ],
)
def test_process_that_cannot_serve_exits_with_a_reason(settings, reason, status):
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=service_environment(FER_PORT=str(free_port()), **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status
    assert reason in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_occupied_port_is_the_last_line_of_the_log():
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=REPOSITORY,
            env=service_environment(FER_PORT=str(port)),
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 3
    message = json.loads(ended.stderr.splitlines()[-1])["message"]
    assert message == f"fer-serve cannot serve: cannot listen on 127.0.0.1 port {port}"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_cuda_setting_without_cuda_refuses_to_serve():
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=service_environment(FER_PORT=str(free_port()), FER_DEVICE="cuda"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "FER_DEVICE=cuda cannot be served" in ended.stderr
