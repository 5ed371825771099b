"""`python -m app` as a process with the shipped model: serve, agree over all forms, drain, refuse to start."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import httpx2
import onnx
import onnxruntime
import pytest
import websockets.sync.client
from PIL import Image

from app.contract.manifest import Manifest, manifest_path
from stress.client import post
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY
from tests.support.responses import stable_fields


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FER_")}
    # The deadline is far away, so that a busy machine changes no answer; the tests of deadlines set their own.
    return inherited | {"FER_LOG_FORMAT": "json", "FER_DEVICE": "cpu", "FER_DEADLINE_MS": "60000"} | settings


@contextmanager
def serving(
    program: str | None = None, stderr: int | TextIO = subprocess.PIPE, **settings: str
) -> Iterator[tuple[httpx2.Client, subprocess.Popen]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *(["-m", "app"] if program is None else ["-c", program])],
        cwd=REPOSITORY,
        env=environment(FER_PORT=str(port), **settings),
        stderr=stderr,
        text=True,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            end = time.monotonic() + 60
            while True:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < end, "not ready within 60 s"
                with suppress(httpx2.TransportError):
                    if client.get("/readyz").status_code == 200:
                        break
                time.sleep(0.1)
            yield client, process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with serving() as (client, _):
        yield client


def test_portrait_is_answered_alike_in_all_forms(client):
    photo = ASTRONAUT.read_bytes()
    multipart = client.post("/predict", files={"file": ("a.jpg", photo, "image/jpeg")}).json()
    raw = client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    text = client.post("/predict", json={"image": base64.b64encode(photo).decode()}).json()
    assert stable_fields(multipart) == stable_fields(raw) == stable_fields(text)
    (face,) = multipart["faces"]
    assert face["emotion"] == "happy"
    assert face["box"]["width"] == face["box"]["height"] > 80


def test_portraits_in_parallel_answer_as_alone(client):
    photo = ASTRONAUT.read_bytes()
    queries = ["", "?detect=false", "?max_faces=1", "?min_face_size=200"] * 4
    alone = {query: stable_fields(client.post("/predict" + query, content=photo).json()) for query in set(queries)}
    with ThreadPoolExecutor(16) as senders:
        answers = list(
            senders.map(lambda query: stable_fields(client.post("/predict" + query, content=photo).json()), queries)
        )
    assert answers == [alone[query] for query in queries]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_camera_photographs_do_not_map_their_memory_anew():
    with serving() as (client, process), Image.open(ASTRONAUT) as portrait:
        stream = io.BytesIO()
        portrait.resize((4000, 3000)).save(stream, "JPEG")

        def page_faults(photographs: int) -> int:
            """Minor faults; proc(5) has them as the tenth field, the eighth after the name."""
            for _ in range(photographs):
                client.post("/predict", content=stream.getvalue()).raise_for_status()
            return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7])

        warm = page_faults(8)
        # One picture of 12 megapixels is 3,000 pages. A vision thread whose first one comes now maps its own, once.
        assert page_faults(8) - warm < 8 * 1000


def test_body_above_the_limit_is_answered_before_it_is_sent(client):
    answer = client.post("/predict", content=b"x" * (11 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_slow_body_is_answered_at_the_deadline():
    with serving(FER_DEADLINE_MS="500") as (client, _):
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            answer = b""
            while b"}" not in answer and (received := connection.recv(4096)):
                answer += received
        assert b" 504 " in answer.split(b"\r\n")[0]
        assert b"deadline_exceeded" in answer


def test_sigterm_drains_and_exits_0():
    with serving(FER_DRAIN_S="4") as (client, process):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "draining")
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert process.wait(15) == 0
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_sigint_ends_without_the_drain():
    with serving(FER_DRAIN_S="60") as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("settings", "sentence", "status"),
    [
        ({"FER_PORTT": "1"}, "unknown setting FER_PORTT", 2),
        ({"FER_MAX_QUEUE": "none"}, "FER_MAX_QUEUE", 2),
        ({"FER_MODEL": "models/none.onnx"}, "models/none.onnx does not exist", 3),
    ],
)
def test_process_that_cannot_serve_says_why_in_a_sentence(settings, sentence, status):
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=environment(FER_PORT=str(free_port()), **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status
    assert sentence in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_taken_port_is_the_last_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=REPOSITORY,
            env=environment(FER_PORT=str(port)),
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1] == f"fer-serve cannot serve: cannot listen on 127.0.0.1 port {port}"


def test_cuda_without_cuda_refuses_to_serve():
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPOSITORY,
        env=environment(FER_PORT=str(free_port()), FER_DEVICE="cuda"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "FER_DEVICE=cuda cannot be served" in ended.stderr


def test_sighup_serves_new_files_under_load_and_refuses_bad_ones(tmp_path):
    for suffix in ("onnx", "manifest.json", "golden.npz"):
        shutil.copy(REPOSITORY / "models" / f"fer_vgg.{suffix}", tmp_path)
    path = tmp_path / "fer_vgg.onnx"
    photograph = ASTRONAUT.read_bytes()
    with serving(FER_MODEL=str(path)) as (client, process):
        before = client.get("/info").json()["sha256"]
        ended = threading.Event()
        statuses: list[int] = []

        def ask() -> None:
            while not ended.is_set():
                statuses.append(client.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(2) as threads:
            callers = [threads.submit(ask) for _ in range(2)]
            path.write_bytes(path.read_bytes()[:-100])
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: refused_reloads(client) == 1)
            assert client.get("/info").json()["sha256"] == before
            shutil.copy(REPOSITORY / "models" / "fer_vgg.onnx", path)
            after = with_another_hash(path)
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: client.get("/info").json()["sha256"] == after)
            ended.set()
            for caller in callers:
                caller.result(timeout=30)
        assert set(statuses) == {200}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within 60 s"
        time.sleep(0.05)


def refused_reloads(client: httpx2.Client) -> float:
    (line,) = re.findall(r'fer_model_reloads_total\{outcome="refused"\} (\S+)', client.get("/metrics").text)
    return float(line)


def with_another_hash(path: Path) -> str:
    """Gives a model file one more line of metadata, and its manifest the new hash."""
    model = onnx.load(path)
    model.metadata_props.add(key="note", value="the same network in another file")
    onnx.save(model, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar = manifest_path(path)
    manifest = Manifest.model_validate_json(sidecar.read_bytes())
    sidecar.write_text(manifest.model_copy(update={"sha256": sha256}).model_dump_json())
    return sha256


# As `python -m app`, and says how many objects Python's collector leaves alone and how many it looks at.
COUNTING_SERVICE = """
import gc, sys
import app.__main__
status = app.__main__.main()
print(gc.get_freeze_count(), len(gc.get_objects()), file=sys.stderr)
app.__main__._leave(status)
"""


def test_collector_leaves_alone_what_start_up_made():
    with serving(COUNTING_SERVICE, FER_DRAIN_S="0") as (client, process):
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        frozen, looked_at = map(int, process.stderr.read().splitlines()[-1].split())
    assert frozen > 50_000
    assert looked_at < frozen / 5


# As `python -m app` without Python's collector; at SIGUSR1 it says how many objects only that can free.
UNCOLLECTED_SERVICE = """
import gc, signal, sys
import app.__main__
gc.disable()
signal.signal(signal.SIGUSR1, lambda *_: print("unreachable", gc.collect(), file=sys.stderr, flush=True))
app.__main__._leave(app.__main__.main())
"""


def test_requests_leave_nothing_to_the_collector():
    image = ASTRONAUT.read_bytes()
    broken, encoded = image[:5000], base64.b64encode(image).decode()
    octets = {"Content-Type": "application/octet-stream"}
    rekognition = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "RekognitionService.DetectFaces"}

    def requests(client: httpx2.Client) -> Iterator[httpx2.Response]:
        yield client.post("/predict", files={"file": ("astronaut.jpg", image)})
        yield client.post("/predict", content=image)
        yield client.post("/predict", json={"image": encoded})
        yield client.post("/predict", files={"file": ("astronaut.jpg", broken)})
        yield client.post("/predict", content=b"")
        yield client.post("/predict?max_faces=0", content=image)
        yield client.get("/nowhere")
        yield client.get("/healthz")
        yield client.get("/metrics")
        yield client.post(
            "/predict/batch", json={"images": [encoded, "no base64!", 5, base64.b64encode(broken).decode()]}
        )
        yield client.post("/predict/batch", files=[("file", ("a.jpg", image)), ("file", ("b.jpg", broken))])
        yield client.post("/analyze", json={"img": "https://example.org/a.jpg"})
        yield client.post("/face/v1.0/detect", content=broken, headers=octets)
        yield client.post("/", json={"Image": {"Bytes": "no base64!"}}, headers=rekognition)
        yield client.post("/v2/models/fer_vgg/infer", json={"inputs": []})

    def stream(client: httpx2.Client) -> None:
        with websockets.sync.client.connect(str(client.base_url).replace("http", "ws").rstrip("/") + "/ws") as socket:
            for frame, expected in ((image, "faces"), (broken, "error")):
                socket.send(frame)
                assert expected in json.loads(socket.recv(30))

    def hang_up(client: httpx2.Client) -> None:
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as caller:
            caller.sendall(post("/predict", image))

    def ask_all(client: httpx2.Client) -> None:
        assert [answer.status_code for answer in requests(client)] == expected
        stream(client)
        hang_up(client)

    def unreachable(process: subprocess.Popen) -> int:
        process.send_signal(signal.SIGUSR1)
        return next(int(line.split()[1]) for line in process.stderr if line.startswith("unreachable"))

    expected = [200, 200, 200, 422, 400, 422, 404, 200, 200, 200, 200, 400, 400, 400, 400]
    with serving(UNCOLLECTED_SERVICE) as (client, process):
        ask_all(client)
        unreachable(process)
        for _ in range(5):
            ask_all(client)
        assert unreachable(process) < 100  # a cycle of one kind of request would be as much or more


# As `python -m app`, but pictures of one size hang their thread for ever.
HANGING_SERVICE = """
import threading
import app.main, app.__main__
class HangingDetector(app.main.FaceDetector):
    def detect(self, grey):
        if grey.shape == (64, 96):
            threading.Event().wait()
        return super().detect(grey)
app.main.FaceDetector = HangingDetector
app.__main__._leave(app.__main__.main())
"""


def test_hung_thread_ends_the_process_after_its_neighbours_are_answered():
    with serving(HANGING_SERVICE, FER_DEADLINE_MS="1000", FER_DRAIN_S="1") as (client, process):
        trap = io.BytesIO()
        Image.new("L", (96, 64), 128).save(trap, "PNG")
        assert client.post("/predict", content=trap.getvalue()).status_code == 504
        wait_for(lambda: client.get("/readyz").status_code == 503)
        assert client.post("/predict?detect=false", content=ASTRONAUT.read_bytes()).status_code == 200
        assert process.wait(60) == 3
        assert "this instance cannot serve: a thread has been at one piece of work" in process.stderr.read()


def test_sigterm_with_a_hung_thread_still_ends_with_0():
    with serving(HANGING_SERVICE, FER_DEADLINE_MS="1000", FER_DRAIN_S="0") as (client, process):
        trap = io.BytesIO()
        Image.new("L", (96, 64), 128).save(trap, "PNG")
        assert client.post("/predict", content=trap.getvalue()).status_code == 504
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_sigterm_under_load_loses_no_accepted_request():
    photograph = ASTRONAUT.read_bytes()
    with serving(FER_DRAIN_S="3") as (client, process):
        away = threading.Event()
        outcomes: list[int] = []

        def ask() -> None:  # as a load balancer: until the instance says that it wants no more
            with httpx2.Client(base_url=client.base_url, timeout=60) as own:
                while not away.is_set():
                    outcomes.append(own.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(8) as threads:
            callers = [threads.submit(ask) for _ in range(8)]
            wait_for(lambda: len(outcomes) >= 8)
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: client.get("/readyz").status_code == 503)
            away.set()
            for caller in callers:
                caller.result(timeout=60)
        assert process.wait(60) == 0
        assert set(outcomes) == {200}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_under_the_log_and_no_temporary_folder_change_no_answer(client):
    expected = stable_fields(client.post("/predict", content=ASTRONAUT.read_bytes()).json())
    with Path("/dev/full").open("w") as full, serving(stderr=full, TMPDIR="/nowhere") as (starved, process):
        for _ in range(3):
            answer = starved.post("/predict", files={"file": ("a.jpg", ASTRONAUT.read_bytes(), "image/jpeg")})
            assert stable_fields(answer.json()) == expected
        assert starved.get("/readyz").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
