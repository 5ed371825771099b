"""Memory of `python -m app`: reused pages, frozen objects, no reference cycles."""

from __future__ import annotations

import base64
import io
import json
import platform
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import websockets.sync.client
from PIL import Image

from stress.client import post
from tests.support.images import ASTRONAUT
from tests.support.process import service_process


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
