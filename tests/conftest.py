"""Stand-ins for the model and the detector, and generated images: the whole HTTP surface in milliseconds."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from app.api.door import Door
from app.config import Settings
from app.contract.labels import LABELS
from app.contract.manifest import INPUT_SHAPE, OUTPUT_SHAPE, Contract, Manifest, Provenance, TensorSpec
from app.contract.preprocess import PREPROCESS_ID
from app.domain import Detection, FaceBox
from app.http_protocol import RequestDoor, protocol_with
from app.main import create_app
from tests.data_paths import REPOSITORY

ASTRONAUT = REPOSITORY / "tests" / "photos" / "astronaut.jpg"


def make_manifest(**changes: Any) -> Manifest:
    contract = {
        "schema_version": 1,
        "name": "fake",
        "version": "2026.11.1",
        "labels": LABELS,
        "preprocess_id": PREPROCESS_ID,
        "input": TensorSpec(name="image", dtype="uint8", shape=INPUT_SHAPE),
        "output": TensorSpec(name="logits", dtype="float32", shape=OUTPUT_SHAPE),
        "temperature": 1.0,
    }
    provenance = Provenance(commit="0" * 40, config={}, dataset={}, seed=0, packages={}, hardware={}, wall_s=0.0)
    return Manifest(contract=Contract(**(contract | changes)), provenance=provenance, sha256="0" * 64)


class FakeClassifier:
    """Logits that depend on the crop's pixels only, so that a mixed-up batch shows. Can be held and made to fail."""

    provider = "FakeProvider"

    def __init__(self) -> None:
        self.manifest = make_manifest()
        self.batches: list[int] = []
        self.released = threading.Event()
        self.released.set()
        self.poison: int | None = None  # a crop whose first pixel has this level makes its batch fail

    def classify(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert self.released.wait(10)
        self.batches.append(len(crops))
        if self.poison is not None and any(int(crop[0, 0, 0]) == self.poison for crop in crops):
            raise RuntimeError("poisoned /secret/path")
        return [crop[:: 48 // 7, 0, 0][:7].astype(np.float32) / 64 for crop in crops]


class FakeDetector:
    """Finds a face in every 40x40 tile whose centre is white, largest first as the real one."""

    def detect(self, grey: np.ndarray) -> list[Detection]:
        found = [
            Detection(FaceBox(x, y, 40, 40), 5.0)
            for y in range(0, grey.shape[0] - 39, 40)
            for x in range(0, grey.shape[1] - 39, 40)
            if grey[y + 20, x + 20] > 250
        ]
        return sorted(found, key=lambda face: -face.box.area_px)

    def follow(self, grey: np.ndarray, known: Sequence[FaceBox]) -> list[Detection]:
        return self.detect(grey)


def picture(faces: int = 1, seed: int = 0, columns: int = 4, rows: int = 3) -> np.ndarray:
    """A grey picture, uint8, in which FakeDetector finds so many faces, all different."""
    grey = np.random.default_rng(seed).integers(0, 200, size=(rows * 40, columns * 40), dtype=np.uint8)
    for index in range(faces):
        y, x = divmod(index, columns)
        grey[y * 40 + 18 : y * 40 + 23, x * 40 + 18 : x * 40 + 23] = 255
    return grey


def encoded(pixels: np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture
def make_client(classifier: FakeClassifier) -> Iterator[Callable[..., TestClient]]:
    """Starts the service with the fakes and the given settings; stops it after the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            # The deadline is far away, so that a busy machine changes no answer; tests of deadlines set their own.
            app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), classifier, FakeDetector())
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start
        classifier.released.set()


@pytest.fixture
def make_server(classifier: FakeClassifier) -> Iterator[Callable[..., str]]:
    """As `make_client`, but a real server on a free port, for clients that bring their own HTTP. Gives its URL."""
    with ExitStack() as stack:

        def start(**settings: Any) -> str:
            app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), classifier, FakeDetector())
            return stack.enter_context(serving(app))

        yield start
        classifier.released.set()


@contextmanager
def serving(app: FastAPI, door: RequestDoor | None = None, **options: Any) -> Iterator[str]:
    """A server in a thread of this process, with the real one's protocol, and more of uvicorn's options."""
    http = protocol_with(door or Door(app.state.service))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", http=http, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()
