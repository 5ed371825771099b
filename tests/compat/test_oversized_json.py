"""JSON bodies of 20 MiB, the default limit, that no client needs: the service refuses them with little time."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.compat.rekognition import DETECT_FACES

BODY_BYTES = 20 * 1024 * 1024 - 1024
MAX_LOOP_S = 0.5
MAX_MEMORY_BYTES = 150_000_000

INFER, ANALYZE, REKOGNITION = "/v2/models/fake/infer", "/analyze", "/"
TENSOR = b'{"name": "image", "shape": [1, 48, 48, 1], "datatype": "UINT8"'


def filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    """Repeat a unit between two parts of a document until the document has `BODY_BYTES`."""
    return before + unit * ((BODY_BYTES - len(before) - len(after)) // len(unit)) + after


def infer_data(unit: bytes, last: bytes) -> bytes:
    return filled(b'{"inputs": [' + TENSOR + b', "data": [', unit, last + b"]}]}")


CROP = b"[" + b",".join([b"[" + b",".join([b"[1]"] * 48) + b"]"] * 48) + b"]"
BODIES = {
    "infer: lists in an unknown key": (INFER, filled(b'{"inputs": [' + TENSOR + b'}], "x": [', b"[],", b"[]]}")),
    "infer: lists in data": (INFER, infer_data(b"[],", b"[]")),
    "infer: numbers in data": (INFER, infer_data(b"1,", b"1")),
    "infer: nested numbers in data": (INFER, infer_data(CROP + b",", CROP)),
    "infer: one text in data": (INFER, filled(b'{"inputs": [' + TENSOR + b', "data": ["', b"a", b'"]}]}')),
    "infer: long texts in data": (INFER, infer_data(b'"' + b"a" * 250_000 + b'",', b'""')),
    "infer: short texts in data": (INFER, infer_data(b'"ab",', b'"ab"')),
    "infer: deep lists in data": (INFER, infer_data(b"[", b"")),
    "infer: sizes in shape": (INFER, filled(b'{"inputs": [{"name": "image", "shape": [', b"1,", b"1]}]}")),
    "infer: inputs": (INFER, filled(b'{"inputs": [', b'{"name":"ab","shape":[],"datatype":"cd"},', TENSOR + b"}]}")),
    "infer: empty inputs": (INFER, filled(b'{"inputs": [', b"{},", b"{}]}")),
    "infer: outputs": (INFER, filled(b'{"outputs": [', b'{"name":"ab"},', b'{"name":"ab"}]}')),
    "infer: keys": (INFER, filled(b'{"inputs": [' + TENSOR + b"}]", b', "ab":1', b"}")),
    "analyze: lists in an unknown key": (ANALYZE, filled(b'{"img": "x", "x": [', b"[],", b"[]]}")),
    "analyze: lists in img": (ANALYZE, filled(b'{"img": [', b"[],", b"[]]}")),
    "analyze: actions": (ANALYZE, filled(b'{"img": "data:image/png;base64,AA", "actions": [', b'"age",', b'"age"]}')),
    "analyze: deep lists": (ANALYZE, filled(b'{"x": ', b"[", b"}")),
    "rekognition: lists in an unknown key": (REKOGNITION, filled(b'{"x": [', b"[],", b"[]]}")),
    "rekognition: lists in Image": (REKOGNITION, filled(b'{"Image": {"Bytes": [', b"[],", b"[]]}}")),
    "rekognition: attributes": (REKOGNITION, filled(b'{"Attributes": [', b'"ALL",', b'"ALL"]}')),
    "rekognition: unknown attributes": (REKOGNITION, filled(b'{"Attributes": [', b'"ab",', b'"ab"]}')),
}


def refuse(client: TestClient, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "X-Amz-Target": DETECT_FACES}
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert len(answer.content) < 1000


@pytest.fixture(scope="module")
def frozen_objects() -> Iterator[None]:
    """Keep the garbage collector from the objects of other tests, as the service keeps it from those of its start."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_objects")
@pytest.mark.parametrize("case", BODIES)
def test_oversized_json_does_not_block_the_event_loop(client, case):
    longest = 0.0

    async def measure() -> None:
        """Record the longest CPU time of the event loop between two of its turns."""
        nonlocal longest
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    task = client.portal.start_task_soon(measure)
    try:
        refuse(client, *BODIES[case])
    finally:
        task.cancel()
    assert longest < MAX_LOOP_S


@pytest.mark.parametrize("case", BODIES)
def test_oversized_json_takes_little_memory(client, case):
    tracemalloc.start()
    try:
        refuse(client, *BODIES[case])
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()
