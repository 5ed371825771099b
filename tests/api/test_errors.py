"""Every error code of the contract, provoked over HTTP; and what no error may say."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.api.problems import STATUS
from app.engine.readiness import State
from app.errors import ErrorCode
from tests.support.images import encoded, picture

PNG = encoded(picture(1))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a large image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def assert_problem(answer, code: ErrorCode) -> dict:
    body = answer.json()
    assert body["code"] == code, body
    assert answer.status_code == body["status"] == STATUS[code]
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["type"].endswith(code)
    for leak in ("Traceback", "/site-packages", "app/", "Error("):
        assert leak not in answer.text
    return body


JSON = {"content-type": "application/json"}
CASES: list[tuple[ErrorCode, str, dict]] = [
    (ErrorCode.MALFORMED_REQUEST, "json syntax", {"content": b"{", "headers": JSON}),
    (ErrorCode.MALFORMED_REQUEST, "json without the key", {"json": {}}),
    (ErrorCode.INVALID_PARAMETER, "json unknown key", {"json": {"picture": "x"}}),
    (ErrorCode.INVALID_PARAMETER, "json bad option", {"json": {"image": "AAAA", "max_faces": 0}}),
    (ErrorCode.INVALID_PARAMETER, "json long option", {"json": {"image": "AAAA", "max_faces": "1" * 200}}),
    (ErrorCode.MALFORMED_REQUEST, "json no object", {"json": ["x"]}),
    (ErrorCode.MALFORMED_REQUEST, "json number", {"json": {"image": 3}}),
    (ErrorCode.MALFORMED_REQUEST, "json too deep", {"content": b"[" * 100_000, "headers": JSON}),
    (ErrorCode.MALFORMED_REQUEST, "json not utf-8", {"content": b'{"image": "\xff"}', "headers": JSON}),
    (ErrorCode.MALFORMED_REQUEST, "multipart without the part", {"files": {"other": ("a.png", PNG)}}),
    (ErrorCode.MALFORMED_REQUEST, "multipart text field", {"data": {"file": "x"}, "files": {"other": ("a", b"x")}}),
    (
        ErrorCode.MALFORMED_REQUEST,
        "multipart without boundary",
        {"content": PNG, "headers": {"content-type": "multipart/form-data"}},
    ),
    (
        ErrorCode.MALFORMED_REQUEST,
        "multipart cut short",
        {"content": b"--b\r\nContent-Dis", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ),
    (ErrorCode.INVALID_BASE64, "alphabet", {"json": {"image": "!!!!"}}),
    (ErrorCode.INVALID_BASE64, "length", {"json": {"image": "AAAAA"}}),
    (ErrorCode.INVALID_BASE64, "not ascii", {"json": {"image": "ÄÄÄÄ"}}),
    (ErrorCode.INVALID_BASE64, "data url of text", {"json": {"image": "data:text/plain;base64,AAAA"}}),
    (ErrorCode.EMPTY_IMAGE, "raw", {"content": b"", "headers": {"content-type": "image/png"}}),
    (ErrorCode.EMPTY_IMAGE, "multipart", {"files": {"file": ("a.png", b"")}}),
    (ErrorCode.EMPTY_IMAGE, "json", {"json": {"image": ""}}),
    (ErrorCode.TOO_MANY_PIXELS, "bomb", {"content": png_claiming(20_000, 20_000)}),
    (ErrorCode.TOO_MANY_PIXELS, "larger bomb", {"content": png_claiming(2**31 - 1, 2**31 - 1)}),
    (ErrorCode.TOO_MANY_IMAGES, "two files", {"files": [("file", ("a", PNG)), ("file", ("b", PNG))]}),
    (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "text", {"content": PNG, "headers": {"content-type": "text/plain"}}),
    (
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "web form",
        {"content": b"image=abc", "headers": {"content-type": "application/x-www-form-urlencoded"}},
    ),
    (ErrorCode.UNSUPPORTED_IMAGE_FORMAT, "text", {"content": b"hello, I am no image"}),
    (
        ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
        "svg",
        {"content": b"<svg></svg>", "headers": {"content-type": "image/svg+xml"}},
    ),
    (ErrorCode.INVALID_PARAMETER, "max_faces=0", {"content": PNG, "params": {"max_faces": "0"}}),
    (ErrorCode.INVALID_PARAMETER, "min_face_size=-1", {"content": PNG, "params": {"min_face_size": "-1"}}),
    (ErrorCode.INVALID_PARAMETER, "detect=maybe", {"content": PNG, "params": {"detect": "maybe"}}),
    (ErrorCode.UNDECODABLE_IMAGE, "cut short", {"content": PNG[: len(PNG) // 2]}),
    (ErrorCode.IMAGE_TOO_SMALL, "4x4", {"content": encoded(np.zeros((4, 4), np.uint8))}),
    (ErrorCode.NO_FACE_DETECTED, "empty room", {"content": encoded(picture(0)), "params": {"require_face": "true"}}),
]


@pytest.mark.parametrize(
    ("code", "request_arguments"), [case[::2] for case in CASES], ids=[f"{c[0]}-{c[1]}" for c in CASES]
)
def test_predict_bad_request_answers_its_code(client, code, request_arguments):
    answer = client.post("/predict", **request_arguments)
    assert_problem(answer, code)


def test_predict_body_above_the_limit_is_refused_by_its_declared_length(make_client):
    client = make_client(max_body_bytes=2048)
    assert_problem(client.post("/predict", content=b"x" * 2049), ErrorCode.PAYLOAD_TOO_LARGE)


def test_predict_body_above_the_limit_is_refused_while_it_streams(make_client):
    client = make_client(max_body_bytes=2048)
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b"x" * 1024

    assert_problem(client.post("/predict", content=chunks()), ErrorCode.PAYLOAD_TOO_LARGE)
    assert_problem(client.post("/predict", files={"file": ("a.png", b"x" * 4096)}), ErrorCode.PAYLOAD_TOO_LARGE)


def test_predict_body_at_the_limit_is_accepted(make_client):
    client = make_client(max_body_bytes=len(PNG))
    assert client.post("/predict", content=PNG).status_code == 200


def test_predict_max_pixels_is_the_last_size_accepted(make_client):
    data = encoded(picture(1))  # 160x120
    assert make_client(max_pixels=160 * 120).post("/predict", content=data).status_code == 200
    assert_problem(make_client(max_pixels=160 * 120 - 1).post("/predict", content=data), ErrorCode.TOO_MANY_PIXELS)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "ä"}])
def test_predict_without_a_valid_key_is_unauthorized(make_client, headers):
    client = make_client(api_keys="first,second")
    answer = client.post("/predict", content=PNG, headers={k: v.encode("latin-1") for k, v in headers.items()})
    assert_problem(answer, ErrorCode.UNAUTHORIZED)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "first" not in answer.text


@pytest.mark.parametrize("headers", [{"X-API-Key": "first"}, {"Authorization": "Bearer second"}])
def test_predict_with_a_valid_key_is_answered(make_client, headers):
    assert make_client(api_keys="first,second").post("/predict", content=PNG, headers=headers).status_code == 200


def test_probes_and_metrics_stay_open_with_keys(make_client):
    client = make_client(api_keys="first")
    assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert_problem(client.get("/info"), ErrorCode.UNAUTHORIZED)


def test_metrics_protected_asks_for_the_key(make_client):
    client = make_client(api_keys="first", protect_metrics=True)
    assert_problem(client.get("/metrics"), ErrorCode.UNAUTHORIZED)
    assert client.get("/metrics", headers={"X-API-Key": "first"}).status_code == 200


def test_unknown_path_is_a_problem(client):
    assert_problem(client.get("/nothing"), ErrorCode.NOT_FOUND)


def test_wrong_method_is_a_problem_that_lists_the_right_one(client):
    answer = client.get("/predict")
    assert_problem(answer, ErrorCode.METHOD_NOT_ALLOWED)
    assert answer.headers["allow"] == "POST"


def test_predict_failing_model_is_internal_and_says_nothing_of_the_cause(client, classifier):
    classifier.poison = 7
    poisoned = np.full((48, 48), 7, dtype=np.uint8)
    answer = client.post("/predict?detect=false", content=encoded(poisoned))
    assert_problem(answer, ErrorCode.INTERNAL)
    assert "secret" not in answer.text


def test_predict_before_the_model_is_loaded_is_not_ready(client):
    service = client.app.state.service
    model, service.engine._model = service.engine._model, None
    try:
        answer = client.post("/predict", content=PNG)
    finally:
        service.engine._model = model
    assert_problem(answer, ErrorCode.NOT_READY)
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("state", "code"), [(State.STARTING, ErrorCode.NOT_READY), (State.UNHEALTHY, ErrorCode.NOT_READY)]
)
def test_readyz_not_ready_gives_the_reason(client, state, code):
    readiness = client.app.state.service.readiness
    readiness.state, readiness.reason = state, "because"
    answer = client.get("/readyz")
    assert "because" in assert_problem(answer, code)["detail"]
    assert "retry-after" in answer.headers


def test_readyz_draining_is_its_own_code_while_predictions_go_on(client):
    client.app.state.service.readiness.drain()
    answer = client.get("/readyz")
    assert_problem(answer, ErrorCode.DRAINING)
    assert "retry-after" in answer.headers
    assert client.post("/predict", content=PNG).status_code == 200


def wait_until(condition, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def test_predict_beyond_the_permits_is_overloaded_and_recovers(make_client, classifier):
    client = make_client(max_queue=2)
    classifier.released.clear()
    with ThreadPoolExecutor(2) as senders:
        held = [senders.submit(client.post, "/predict", content=PNG) for _ in range(2)]
        wait_until(lambda: client.app.state.service.admission.permits == 2)
        answer = client.post("/predict", content=PNG)
        assert_problem(answer, ErrorCode.OVERLOADED)
        assert "retry-after" in answer.headers
        assert client.get("/healthz").status_code == 200
        classifier.released.set()
        assert [future.result().status_code for future in held] == [200, 200]
    assert client.post("/predict", content=PNG).status_code == 200
    assert client.app.state.service.admission.permits == 0


def test_predict_held_beyond_the_deadline_is_deadline_exceeded(make_client, classifier):
    client = make_client(deadline_ms=100)
    classifier.released.clear()
    assert_problem(client.post("/predict", content=PNG), ErrorCode.DEADLINE_EXCEEDED)
    threading.Timer(0.05, classifier.released.set).start()
    wait_until(lambda: client.post("/predict", content=PNG).status_code == 200)


OVERSIZED = [
    ("/predict", b'{"image": [' + b"[]," * 3_000_000 + b"[]]}", ErrorCode.MALFORMED_REQUEST),
    ("/predict", b'{"unknown": [' + b"[]," * 3_000_000 + b"[]]}", ErrorCode.INVALID_PARAMETER),
    ("/predict", b'{"image": "AAAA", "max_faces": [' + b"[]," * 3_000_000 + b"[]]}", ErrorCode.INVALID_PARAMETER),
    ("/predict/batch", b'{"images": [' + b'"",' * 3_000_000 + b'""]}', ErrorCode.TOO_MANY_IMAGES),
    ("/predict/batch", b'{"images": [' + b"[]," * 3_000_000 + b"[]]}", ErrorCode.TOO_MANY_IMAGES),
]


@pytest.mark.parametrize(("path", "body", "code"), OVERSIZED, ids=["image", "unknown", "option", "texts", "lists"])
def test_json_with_millions_of_values_is_refused_without_building_them(client, path, body, code):
    import tracemalloc

    tracemalloc.start()
    try:
        assert_problem(client.post(path, content=body, headers=JSON), code)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)  # the body and copies of it; three million values would take 20 times as much


def test_batch_too_many_images_is_refused(make_client):
    client = make_client(max_images=2)
    files = [("file", (f"{index}.png", PNG)) for index in range(3)]
    assert_problem(client.post("/predict/batch", files=files), ErrorCode.TOO_MANY_IMAGES)
    text = base64.b64encode(PNG).decode()
    assert_problem(client.post("/predict/batch", json={"images": [text] * 3}), ErrorCode.TOO_MANY_IMAGES)


def test_every_code_has_a_status_and_is_provoked_in_a_test():
    assert set(STATUS) == set(ErrorCode)
    here = Path(__file__).parent
    source = "".join((here / name).read_text() for name in ("test_errors.py", "test_stream.py", "test_reload.py"))
    assert [code for code in ErrorCode if f"ErrorCode.{code.name}" not in source] == []


def test_rejections_are_counted_by_code(client):
    client.post("/predict", content=b"")
    assert 'fer_rejections_total{reason="empty_image"} 1.0' in client.get("/metrics").text


def test_predict_truncated_file_of_every_format_is_undecodable(client):
    for image_format in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        stream = io.BytesIO(encoded(picture(1), image_format))
        data = stream.getvalue()
        assert_problem(client.post("/predict", content=data[: len(data) // 2]), ErrorCode.UNDECODABLE_IMAGE)


def parts(*fields: tuple[str, bytes, bool]) -> dict:
    """A multipart body; of each part its name, its data, and whether it has a file name."""
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="'
        + name.encode()
        + b'"'
        + (b'; filename="a.png"' if is_file else b"")
        + b"\r\n\r\n"
        + data
        + b"\r\n"
        for name, data, is_file in fields
    )
    return {"content": body + b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_form_without_the_file_says_what_it_has(client, path):
    for fields, received in (
        ([("photo", PNG, True), ("x", b"1", False)], "Received: a file named photo, a text named x"),
        ([("file", b"photo.jpg", False)], "Received: a text named file"),
        ([], "Received: no part"),
    ):
        answer = client.post(path, **parts(*fields))
        assert answer.status_code == 400
        assert answer.json()["detail"] == f"expected a file part named file or image. {received}"


def test_image_in_a_part_without_a_file_name_is_read(client):
    answer = client.post("/predict", **parts(("file", PNG, False)))
    assert answer.status_code == 200, answer.text
    two = client.post("/predict", **parts(("file", PNG, False), ("image", PNG, True)))
    assert (two.status_code, two.json()["code"]) == (413, "too_many_images")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/json", "image/png"])
def test_compressed_body_is_refused_in_words(client, path, kind):
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    answer = client.post(path, content=gzip.compress(PNG), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    if (path, kind) != ("/predict/batch", "image/png"):
        assert answer.json()["detail"] == "expected a body without content coding. Received: gzip"


def test_wrong_key_is_told_from_none(make_client):
    client = make_client(api_keys="right")
    for headers, received in (({}, "no key"), ({"X-API-Key": "wrong"}, "another key")):
        assert client.get("/info", headers=headers).json()["detail"].endswith(f"Received: {received}")


def test_slash_behind_a_path_is_not_found_and_redirects_nowhere(client):
    answer = client.post("/predict/", content=PNG, follow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
