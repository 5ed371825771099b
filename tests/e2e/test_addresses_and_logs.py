"""`python -m app` as operators meet it: addresses, log lines, keys from files, signals before the service is ready."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from app.process import build_server
from tests.support.images import ASTRONAUT
from tests.support.mutations import mutated, sources
from tests.support.network import free_port
from tests.support.paths import REPOSITORY
from tests.support.process import service_environment, service_process
from tests.support.raw_http import connected, head, receive_response
from tests.support.waiting import wait_until

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def ended_service(**settings: str) -> subprocess.CompletedProcess[str]:
    """Run a service that cannot start; return its exit status and its log."""
    environment = service_environment(FER_PORT=str(free_port()), **settings)
    return subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stopped_log(process: subprocess.Popen[str]) -> list[dict]:
    """End a service; return the records of its log, each of which must be JSON."""
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    return [json.loads(line) for line in process.stderr.read().splitlines()]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_host_for_any_address_serves_both_families_and_trusted_proxies():
    photograph = ASTRONAUT.read_bytes()
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    settings = {"FER_HOST": "::", "FER_LOG_CLIENT": "true", "FER_TRUSTED_PROXIES": "127.0.0.0/8"}
    with service_process(**settings) as (client, process):
        port = client.base_url.port
        for host in ("127.0.0.1", "[::1]"):
            for headers in ({}, forwarded):
                url = f"http://{host}:{port}/predict"
                assert httpx2.post(url, content=photograph, headers=headers).status_code == 200
        records = stopped_log(process)
    callers = [record["client"] for record in records if record.get("route") == "/predict"]
    assert callers == ["127.0.0.1", "203.0.113.9", "::1", "::1"]  # ::1 is not a trusted proxy
    assert any(record["message"] == f"listening on :: port {port}" for record in records)


def test_log_has_no_address_of_callers_by_default():
    with service_process() as (client, process):
        client.get("/info", headers={"X-Forwarded-For": "203.0.113.9"})
        log = json.dumps(stopped_log(process))
    assert "203.0.113.9" not in log
    assert '"client"' not in log


@contextmanager
def served_on(path):
    """Serve on a UNIX socket, and yield the process and a client."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=service_environment(FER_UDS=str(path)),
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(path.exists, seconds=60)
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://fer") as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, seconds=60)
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "fer.sock"
    with served_on(path) as (process, client):
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).json()["emotion"] == "happy"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not path.exists()


def test_unix_socket_of_another_instance_is_not_removed(tmp_path):
    path = tmp_path / "fer.sock"
    with served_on(path) as (process, _), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert path.is_socket()


def test_file_in_the_place_of_the_unix_socket_is_not_removed(tmp_path):
    path = tmp_path / "important"
    path.write_text("text")
    assert ended_service(FER_UDS=str(path)).returncode == 3
    assert path.read_text() == "text"


def test_unix_socket_that_cannot_be_created_is_a_reason():
    ended = ended_service(FER_UDS="/no/such/folder/fer.sock")
    assert ended.returncode == 3
    records = [json.loads(line) for line in ended.stderr.splitlines()]
    assert records[-1]["message"] == "fer-serve cannot serve: cannot listen on /no/such/folder/fer.sock"
    assert "Traceback" not in ended.stderr


def test_root_path_is_the_prefix_of_the_documentation():
    with service_process(FER_ROOT_PATH="/faces/") as (client, _):  # the proxy removes the prefix
        page = client.get("/docs").text
        addresses = re.findall(r"['\"](/[^'\"]+\.(?:js|css|json))['\"]", page)
        assert "/faces/openapi.json" in addresses
        assert len(addresses) == 3
        for address in addresses:
            assert client.get(address.removeprefix("/faces")).status_code == 200
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/faces"}]
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).json()["emotion"] == "happy"
        target = {"X-Amz-Target": "RekognitionService.DetectFaces", "Content-Type": "application/x-amz-json-1.1"}
        assert client.post("/", json={"Image": {"Bytes": "no base64!"}}, headers=target).status_code == 400


def test_idle_connection_is_closed_after_the_keep_alive_time():
    with service_process(FER_KEEP_ALIVE_S="1") as (client, _), connected(str(client.base_url)) as connection:
        connection.sendall(head("GET", "/healthz"))
        assert receive_response(connection)[0] == 200
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert time.monotonic() - started > 0.9


def test_default_keep_alive_time_exceeds_that_of_common_proxies():
    config = build_server(create_app(Settings()), Settings()).config
    assert config.timeout_keep_alive > 120  # Caddy; see docs/proxies.md


def test_keys_are_read_from_files(tmp_path):
    keys, admin_keys = tmp_path / "keys", tmp_path / "admin"
    keys.write_text("first\nsecond\r\n\n")
    admin_keys.write_text("root")
    settings = {"FER_API_KEYS_FILE": str(keys), "FER_ADMIN_KEYS_FILE": str(admin_keys)}
    with service_process(**settings) as (client, process):
        for key, status in {"first": 200, "second": 200, "third": 401, "root": 401, "": 401}.items():
            response = client.post("/predict", content=ASTRONAUT.read_bytes(), headers={"X-API-Key": key})
            assert response.status_code == status
        assert client.post("/admin/reload", headers={"X-API-Key": "root"}).status_code == 200
        log = json.dumps(stopped_log(process))
    assert "the model files are unchanged" in log
    assert "second" not in log


@pytest.mark.parametrize(
    ("settings", "status", "reason"),
    [
        ({"FER_PORTT": "1"}, 2, "fer-serve cannot start: unknown setting FER_PORTT"),
        ({"FER_LOG_LEVEL": "loud"}, 2, "fer-serve cannot start: FER_LOG_LEVEL"),
        ({"FER_API_KEYS_FILE": "/no/such/file"}, 2, "FER_API_KEYS_FILE: /no/such/file cannot be read"),
        ({"FER_HOST": "192.0.2.1"}, 3, "fer-serve cannot serve: cannot listen on 192.0.2.1 port"),
        ({"FER_MODEL": "models/none.onnx"}, 3, "fer-serve cannot serve: model file models/none.onnx does not exist"),
    ],
)
def test_every_line_of_a_failed_start_is_json(settings, status, reason):
    ended = ended_service(**settings)
    records = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == status
    assert reason in records[-1]["message"]
    assert all(RFC_3339.fullmatch(record["time"]) for record in records)
    assert ended.stdout == ""


def test_exception_at_the_start_is_one_line_of_json(tmp_path):
    shutil.copytree(REPOSITORY / "app", tmp_path / "app")
    (tmp_path / "app" / "main.py").write_text("import warnings\nwarnings.warn('odd')\nraise RuntimeError('broken')\n")
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=tmp_path,
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    warning, failure = (json.loads(line) for line in ended.stderr.splitlines())
    assert (warning["level"], "odd" in warning["message"]) == ("WARNING", True)
    assert (failure["level"], "RuntimeError: broken" in failure["exc_info"]) == ("CRITICAL", True)
    assert ended.returncode == 1


def test_warnings_of_native_libraries_are_json():
    files = [data for data in sources() if data[:2] in {b"II", b"MM"}]
    with service_process() as (client, process):
        for data in mutated(files, 200, seed=7):
            assert client.post("/predict", content=data).status_code < 500
        records = stopped_log(process)
    assert any(record["logger"] == "native" and record["level"] == "WARNING" for record in records)


def test_text_log_has_rfc_3339_times():
    with service_process(FER_LOG_FORMAT="text") as (client, process):
        client.get("/info")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        lines = process.stderr.read().splitlines()
    assert all(RFC_3339.fullmatch(line.split(" ")[0]) for line in lines)


@pytest.mark.parametrize(
    ("level", "probe", "request_"), [("debug", True, True), ("info", False, True), ("error", False, False)]
)
def test_log_level_selects_the_lines(level, probe, request_):
    with service_process(FER_LOG_LEVEL=level) as (client, process):
        client.get("/info")
        client.post("/predict", content=ASTRONAUT.read_bytes())
        records = stopped_log(process)
    routes = {record.get("route") for record in records}
    assert ("/readyz" in routes, "/info" in routes) == (probe, request_)
    assert {record["logger"].split(".")[0] for record in records if record["level"] == "DEBUG"} <= {"app"}


def test_drain_and_unchanged_reload_are_lines():
    with service_process(FER_DRAIN_S="1") as (client, process):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert process.wait(30) == 0
        messages = [json.loads(line)["message"] for line in process.stderr.read().splitlines()]
    begun = messages.index("drain begun: readiness is 503, and requests are served for 1 s more")
    assert begun < messages.index("drain ended: no new connections, running requests are answered")


def test_otel_variables_without_the_packages_are_a_warning():
    program = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
        "import app.__main__; app.__main__._leave(app.__main__.main())"
    )
    with service_process(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318") as (client, process):
        assert client.get("/readyz").status_code == 200
        (warning,) = [record for record in stopped_log(process) if record["level"] == "WARNING"]
    assert "requirements/otel.txt" in warning["message"]


def unshared(delay_s: float) -> float:
    """Start the service as process 1 of a namespace, as the image does, and send SIGTERM.

    Args:
        delay_s: Time from the start to the signal in seconds.

    Returns:
        The time from the signal to the end in seconds.
    """
    command = ["unshare", "--pid", "--fork", "--kill-child", "env", "--block-signal=TERM", sys.executable, "-m", "app"]
    environment = service_environment(FER_PORT=str(free_port()), FER_DRAIN_S="30")
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            wait_until(lambda: children.read_text().strip())
            time.sleep(delay_s)
            started = time.monotonic()
            subprocess.run(["kill", "-TERM", children.read_text().strip()], check=True)
            assert process.wait(20) == 0
            return time.monotonic() - started
        finally:
            process.kill()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may not create process namespaces",
)
@pytest.mark.parametrize("delay_s", [0.005, 0.1, 0.5])
def test_sigterm_ends_process_1_before_it_is_ready(delay_s):
    assert unshared(delay_s) < 5  # and not after the drain of 30 s
