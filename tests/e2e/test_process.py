"""`python -m app` as a process with the shipped model: predictions, refused bodies, faults of the disk."""

from __future__ import annotations

import base64
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.support.images import ASTRONAUT
from tests.support.process import service_process
from tests.support.responses import stable_fields


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
