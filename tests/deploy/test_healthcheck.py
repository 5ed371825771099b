"""The health check of the image, against a server at every kind of address."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import UnixStreamServer

import pytest

from app.config import ENV_PREFIX
from app.engine.readiness import State
from app.server.address import listening_sockets
from tests.support.paths import REPOSITORY

PROGRAM = REPOSITORY / "deploy" / "docker" / "healthcheck"

pytestmark = pytest.mark.skipif(shutil.which("perl") is None, reason="perl is not installed; the image has it")


def check(tmp_path, *arguments: str, command: str = "python -m app", **environment: str) -> int:
    """Return the exit status of the health check in a container with a command line and an environment."""
    command_line = tmp_path / "cmdline"
    command_line.write_bytes(command.replace(" ", "\0").encode() + b"\0")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    result = subprocess.run(
        ["perl", PROGRAM, *arguments],
        env={**inherited, "FER_CHECKED_COMMAND": str(command_line), **environment},
        timeout=60,
        check=False,
    )
    return result.returncode


def handler_of(status: int, body: bytes) -> type[BaseHTTPRequestHandler]:
    class Replay(BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

        def address_string(self):
            return "test"

        protocol_version = "HTTP/1.1"
        close_connection = True

    return Replay


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def port():
    """Port of a server that is ready."""
    with running(HTTPServer(("127.0.0.1", 0), handler_of(200, b"{}"))) as server:
        yield str(server.server_port)


@pytest.mark.parametrize(
    ("state", "status", "draining_status"),
    [(State.READY, 0, 0), (State.DRAINING, 1, 0), (State.STARTING, 1, 1), (State.UNHEALTHY, 1, 1)],
)
def test_state_of_the_instance(state, status, draining_status, client, tmp_path):
    client.app.state.service.readiness.state = state
    response = client.get("/readyz")
    with running(HTTPServer(("127.0.0.1", 0), handler_of(response.status_code, response.content))) as server:
        port = str(server.server_port)
        assert (check(tmp_path, FER_PORT=port) == 0) == (status == 0)
        assert (check(tmp_path, "--draining", FER_PORT=port) == 0) == (draining_status == 0)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost", "::"])
def test_host(host, port, tmp_path):
    """The socket of `::` in a container without an IPv6 address serves 127.0.0.1."""
    assert check(tmp_path, FER_HOST=host, FER_PORT=port) == 0


def test_ipv6_address(tmp_path):
    try:
        sockets = listening_sockets("::", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = HTTPServer(("127.0.0.1", 0), handler_of(200, b"{}"), bind_and_activate=False)
    server.socket.close()
    (server.socket,) = sockets
    with running(server):
        port = str(server.socket.getsockname()[1])
        assert check(tmp_path, FER_HOST="::1", FER_PORT=port) == 0
        assert check(tmp_path, FER_HOST="::", FER_PORT=port) == 0


@pytest.mark.parametrize("options", ["--port {}", "--port={}", "--host 127.0.0.1 --port {}", "--host=:: --port={}"])
def test_options_of_the_command_line_override_the_environment(options, port, tmp_path):
    command = "python -m app " + options.format(port)
    host = {"FER_HOST": "192.0.2.1"} if "--host" in options else {}
    assert check(tmp_path, command=command, FER_PORT="1", **host) == 0


def test_unix_socket(tmp_path):
    path = tmp_path / "fer.sock"
    with running(UnixStreamServer(str(path), handler_of(200, b"{}"))):
        assert check(tmp_path, FER_UDS=str(path), FER_PORT="1") == 0
    assert check(tmp_path, FER_UDS=str(tmp_path / "absent.sock")) != 0


def test_proxies_of_the_environment_are_ignored(port, tmp_path):
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"), "http://192.0.2.1:9")
    assert check(tmp_path, FER_PORT=port, **proxies) == 0


def test_a_closed_port_and_a_service_without_an_answer_fail(port, tmp_path):
    assert check(tmp_path, FER_PORT="1") != 0
    with running(
        HTTPServer(("127.0.0.1", 0), type("Silent", (BaseHTTPRequestHandler,), {"handle": lambda self: None}))
    ) as server:
        assert check(tmp_path, FER_PORT=str(server.server_port)) != 0


def test_the_image_uses_this_program():
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert 'CMD ["healthcheck"]' in dockerfile
    assert "COPY deploy/docker/healthcheck /usr/local/bin/healthcheck" in dockerfile
    assert os.access(PROGRAM, os.X_OK)
