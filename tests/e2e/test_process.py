"""`python -m app` as a process with the shipped model: predictions, drain, reload, faults, start-up errors, memory."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import onnx
import onnxruntime
import pytest
import websockets.sync.client
from PIL import Image

from app.contract.manifest import Manifest, manifest_path
from stress.client import post
from tests.support.images import ASTRONAUT, encoded
from tests.support.network import free_port
from tests.support.paths import REPOSITORY
from tests.support.process import service_environment, service_process
from tests.support.responses import metric_value, stable_fields
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with service_process() as (client, _):
        yield client


def test_portrait_has_the_same_prediction_in_every_request_form(client):
    photo = ASTRONAUT.read_bytes()
    multipart = client.post("/predict", files={"file": ("a.jpg", photo, "image/jpeg")}).json()
    raw = client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    text = client.post("/predict", json={"image": base64.b64encode(photo).decode()}).json()
    assert stable_fields(multipart) == stable_fields(raw) == stable_fields(text)
    (face,) = multipart["faces"]
    assert face["emotion"] == "happy"
    assert face["box"]["width"] == face["box"]["height"] > 80


def test_parallel_requests_have_the_same_predictions_as_sequential_requests(client):
    photo = ASTRONAUT.read_bytes()

    def predict(query: str) -> dict:
        return stable_fields(client.post("/predict" + query, content=photo).json())

    queries = ["", "?detect=false", "?max_faces=1", "?min_face_size=200"] * 4
    in_sequence = {query: predict(query) for query in set(queries)}
    with ThreadPoolExecutor(16) as threads:
        in_parallel = list(threads.map(predict, queries))
    assert in_parallel == [in_sequence[query] for query in queries]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_camera_photographs_reuse_memory():
    with service_process() as (client, process), Image.open(ASTRONAUT) as portrait:
        stream = io.BytesIO()
        portrait.resize((4000, 3000)).save(stream, "JPEG")

        def page_faults(photographs: int) -> int:
            """Predict photographs; return the minor page faults of the process (field 10 of /proc/PID/stat)."""
            for _ in range(photographs):
                client.post("/predict", content=stream.getvalue()).raise_for_status()
            return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7])

        warm = page_faults(8)
        # A photograph of 12 megapixels has 3,000 pages. Each vision thread maps memory for its first photograph only.
        assert page_faults(8) - warm < 8 * 1000


def test_body_above_the_limit_is_refused_before_it_is_sent(client):
    response = client.post("/predict", content=b"x" * (21 * 1024 * 1024))
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


def test_slow_body_is_refused_at_the_deadline():
    with service_process(FER_DEADLINE_MS="500") as (client, _):
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            response = b""
            while b"}" not in response and (received := connection.recv(4096)):
                response += received
        assert b" 504 " in response.split(b"\r\n")[0]
        assert b"deadline_exceeded" in response


def test_sigterm_drains_and_exits_with_0():
    with service_process(FER_DRAIN_S="3") as (client, process):
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert client.get("/readyz").json()["code"] == "draining"
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert process.wait(15) == 0
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_sigint_exits_without_a_drain():
    with service_process(FER_DRAIN_S="60") as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


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


def test_sighup_under_load_serves_new_files_and_refuses_damaged_files(tmp_path):
    for suffix in ("onnx", "manifest.json", "golden.npz"):
        shutil.copy(REPOSITORY / "models" / f"fer_vgg.{suffix}", tmp_path)
    path = tmp_path / "fer_vgg.onnx"
    photograph = ASTRONAUT.read_bytes()
    with service_process(FER_MODEL=str(path)) as (client, process):
        before = client.get("/info").json()["sha256"]
        ended = threading.Event()
        statuses: list[int] = []

        def predict_repeatedly() -> None:
            while not ended.is_set():
                statuses.append(client.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(2) as threads:
            callers = [threads.submit(predict_repeatedly) for _ in range(2)]
            path.write_bytes(path.read_bytes()[:-100])
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: metric_value(client, 'fer_model_reloads_total{outcome="refused"}') == 1, seconds=60)
            assert client.get("/info").json()["sha256"] == before
            shutil.copy(REPOSITORY / "models" / "fer_vgg.onnx", path)
            after = change_hash(path)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: client.get("/info").json()["sha256"] == after, seconds=60)
            ended.set()
            for caller in callers:
                caller.result(timeout=30)
        assert set(statuses) == {200}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def change_hash(path: Path) -> str:
    """Add metadata to a model file, and write its new SHA-256 into the manifest; return the hash."""
    model = onnx.load(path)
    model.metadata_props.add(key="note", value="changes the hash of the file")
    onnx.save(model, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar = manifest_path(path)
    manifest = Manifest.model_validate_json(sidecar.read_bytes())
    sidecar.write_text(manifest.model_copy(update={"sha256": sha256}).model_dump_json())
    return sha256


# Like `python -m app`; prints the number of frozen objects and of objects that the garbage collector examines.
COUNTING_SERVICE = """
import gc, sys
import app.__main__
status = app.__main__.main()
print(gc.get_freeze_count(), len(gc.get_objects()), file=sys.stderr)
app.__main__._leave(status)
"""


def test_garbage_collector_does_not_examine_objects_of_the_start():
    with service_process(COUNTING_SERVICE, FER_DRAIN_S="0") as (client, process):
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        frozen, examined = map(int, process.stderr.read().splitlines()[-1].split())
    assert frozen > 50_000
    assert examined < frozen / 5


# Like `python -m app` without automatic garbage collection; SIGUSR1 collects and prints the number of objects.
UNCOLLECTED_SERVICE = """
import gc, signal, sys
import app.__main__
gc.disable()
signal.signal(signal.SIGUSR1, lambda *_: print("unreachable", gc.collect(), file=sys.stderr, flush=True))
app.__main__._leave(app.__main__.main())
"""


def test_requests_create_no_reference_cycles():
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
        yield client.get("/no-such-path")
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

    def disconnect(client: httpx2.Client) -> None:
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
            connection.sendall(post("/predict", image))

    def send_all(client: httpx2.Client) -> None:
        assert [response.status_code for response in requests(client)] == expected
        stream(client)
        disconnect(client)

    def collect(process: subprocess.Popen) -> int:
        process.send_signal(signal.SIGUSR1)
        return next(int(line.split()[1]) for line in process.stderr if line.startswith("unreachable"))

    expected = [200, 200, 200, 422, 400, 422, 404, 200, 200, 200, 200, 400, 400, 400, 400]
    with service_process(UNCOLLECTED_SERVICE) as (client, process):
        send_all(client)
        collect(process)
        for _ in range(5):
            send_all(client)
        assert collect(process) < 100  # one cycle for each request of one kind would be more


# Like `python -m app`, but the detector hangs on images of one size.
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
IMPATIENT_WATCHDOG = """
import app.engine.engine
app.engine.engine._HUNG_AFTER_DEADLINES = 1
"""
HANGING_IMAGE = encoded(np.full((64, 96), 128, np.uint8))


def test_hung_thread_ends_the_process_after_a_drain():
    program = IMPATIENT_WATCHDOG + HANGING_SERVICE
    with service_process(program, FER_DEADLINE_MS="1000", FER_DRAIN_S="1") as (client, process):
        assert client.post("/predict", content=HANGING_IMAGE).status_code == 504
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
        assert client.post("/predict?detect=false", content=ASTRONAUT.read_bytes()).status_code == 200
        assert process.wait(60) == 3
        assert "this instance cannot serve: a thread has been at one piece of work" in process.stderr.read()


def test_sigterm_with_a_hung_thread_exits_with_0():
    with service_process(HANGING_SERVICE, FER_DEADLINE_MS="1000", FER_DRAIN_S="0") as (client, process):
        assert client.post("/predict", content=HANGING_IMAGE).status_code == 504
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_sigterm_under_load_loses_no_request():
    photograph = ASTRONAUT.read_bytes()
    with service_process(FER_DRAIN_S="3") as (client, process):
        removed = threading.Event()
        statuses: list[int] = []

        def predict_repeatedly() -> None:  # like a load balancer: until the instance is not ready
            with httpx2.Client(base_url=client.base_url, timeout=60) as caller:
                while not removed.is_set():
                    statuses.append(caller.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(8) as threads:
            callers = [threads.submit(predict_repeatedly) for _ in range(8)]
            wait_until(lambda: len(statuses) >= 8, seconds=60)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
            removed.set()
            for caller in callers:
                caller.result(timeout=60)
        assert process.wait(60) == 0
        assert set(statuses) == {200}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_and_missing_temporary_folder_change_no_prediction(client):
    expected = stable_fields(client.post("/predict", content=ASTRONAUT.read_bytes()).json())
    with (
        Path("/dev/full").open("w") as full,
        service_process(stderr=full, TMPDIR="/no/such/folder") as (other, process),
    ):
        for _ in range(3):
            response = other.post("/predict", files={"file": ("a.jpg", ASTRONAUT.read_bytes(), "image/jpeg")})
            assert stable_fields(response.json()) == expected
        assert other.get("/readyz").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
