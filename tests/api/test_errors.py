"""Every error code over HTTP, and the contents of problem documents."""

from __future__ import annotations

import base64
import gzip
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.api.problems import STATUS
from app.engine.readiness import State
from app.errors import ErrorCode
from tests.support.image_files import png_file, png_header
from tests.support.images import PNG, encoded, picture
from tests.support.responses import assert_problem, metric_value
from tests.support.waiting import wait_until


def png_of_declared_size(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header declares a size."""
    return png_file(png_header(width, height), (b"IDAT", zlib.compress(b"\0" * 100)))


JSON = {"content-type": "application/json"}
CASES: list[tuple[ErrorCode, str, dict]] = [
    (ErrorCode.MALFORMED_REQUEST, "json syntax", {"content": b"{", "headers": JSON}),
    (ErrorCode.MALFORMED_REQUEST, "json without the key", {"json": {}}),
    (ErrorCode.MALFORMED_REQUEST, "json with two images", {"json": {"image": "aGk=", "file": "aGk="}}),
    (ErrorCode.INVALID_PARAMETER, "json unknown key", {"json": {"picture": "x"}}),
    (ErrorCode.INVALID_PARAMETER, "json bad option", {"json": {"image": "AAAA", "max_faces": 0}}),
    (ErrorCode.INVALID_PARAMETER, "json long option", {"json": {"image": "AAAA", "max_faces": "1" * 200}}),
    (ErrorCode.MALFORMED_REQUEST, "json array", {"json": ["x"]}),
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
        "multipart truncated",
        {"content": b"--b\r\nContent-Dis", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ),
    (ErrorCode.INVALID_BASE64, "alphabet", {"json": {"image": "!!!!"}}),
    (ErrorCode.INVALID_BASE64, "length", {"json": {"image": "AAAAA"}}),
    (ErrorCode.INVALID_BASE64, "not ascii", {"json": {"image": "ÄÄÄÄ"}}),
    (ErrorCode.INVALID_BASE64, "data url without base64", {"json": {"image": "data:image/svg+xml,%3Csvg/%3E"}}),
    (ErrorCode.INVALID_BASE64, "data url without data", {"json": {"image": "data:image/png;base64"}}),
    (ErrorCode.EMPTY_IMAGE, "raw", {"content": b"", "headers": {"content-type": "image/png"}}),
    (ErrorCode.EMPTY_IMAGE, "multipart", {"files": {"file": ("a.png", b"")}}),
    (ErrorCode.EMPTY_IMAGE, "json", {"json": {"image": ""}}),
    (ErrorCode.TOO_MANY_PIXELS, "decompression bomb", {"content": png_of_declared_size(20_000, 20_000)}),
    (ErrorCode.TOO_MANY_PIXELS, "largest declared size", {"content": png_of_declared_size(2**31 - 1, 2**31 - 1)}),
    (ErrorCode.TOO_MANY_IMAGES, "two files", {"files": [("file", ("a", PNG)), ("file", ("b", PNG))]}),
    (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "text", {"content": PNG, "headers": {"content-type": "text/plain"}}),
    (
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "web form",
        {"content": b"image=abc", "headers": {"content-type": "application/x-www-form-urlencoded"}},
    ),
    (ErrorCode.UNSUPPORTED_IMAGE_FORMAT, "text", {"content": b"hello, this is text"}),
    (
        ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
        "svg",
        {"content": b"<svg></svg>", "headers": {"content-type": "image/svg+xml"}},
    ),
    (ErrorCode.INVALID_PARAMETER, "max_faces=0", {"content": PNG, "params": {"max_faces": "0"}}),
    (ErrorCode.INVALID_PARAMETER, "min_face_size=-1", {"content": PNG, "params": {"min_face_size": "-1"}}),
    (ErrorCode.INVALID_PARAMETER, "detect=maybe", {"content": PNG, "params": {"detect": "maybe"}}),
    (ErrorCode.UNDECODABLE_IMAGE, "truncated", {"content": PNG[: len(PNG) // 2]}),
    (ErrorCode.IMAGE_TOO_SMALL, "4x4", {"content": encoded(np.zeros((4, 4), np.uint8))}),
    (ErrorCode.NO_FACE_DETECTED, "no face", {"content": encoded(picture(0)), "params": {"require_face": "true"}}),
]


@pytest.mark.parametrize(
    ("code", "request_arguments"), [case[::2] for case in CASES], ids=[f"{c[0]}-{c[1]}" for c in CASES]
)
def test_predict_invalid_request_returns_its_code(client, code, request_arguments):
    response = client.post("/predict", **request_arguments)
    assert_problem(response, code)


def test_predict_body_above_the_limit_is_refused_by_its_declared_length(make_client):
    client = make_client(max_body_bytes=2048)
    assert_problem(client.post("/predict", content=b"x" * 2049), ErrorCode.PAYLOAD_TOO_LARGE)


def test_predict_body_above_the_limit_is_refused_while_it_arrives(make_client):
    client = make_client(max_body_bytes=2048)

    def chunks():
        for _ in range(1000):
            yield b"x" * 1024

    assert_problem(client.post("/predict", content=chunks()), ErrorCode.PAYLOAD_TOO_LARGE)
    assert_problem(client.post("/predict", files={"file": ("a.png", b"x" * 4096)}), ErrorCode.PAYLOAD_TOO_LARGE)


def test_predict_body_at_the_limit_is_accepted(make_client):
    client = make_client(max_body_bytes=len(PNG))
    assert client.post("/predict", content=PNG).status_code == 200


def test_predict_accepts_images_of_up_to_max_pixels(make_client):
    data = encoded(picture(1))  # 160x120
    assert make_client(max_pixels=160 * 120).post("/predict", content=data).status_code == 200
    assert_problem(make_client(max_pixels=160 * 120 - 1).post("/predict", content=data), ErrorCode.TOO_MANY_PIXELS)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "ä"}])
def test_predict_without_a_valid_key_is_unauthorized(make_client, headers):
    client = make_client(api_keys="first,second")
    response = client.post("/predict", content=PNG, headers={k: v.encode("latin-1") for k, v in headers.items()})
    assert_problem(response, ErrorCode.UNAUTHORIZED)
    assert response.headers["www-authenticate"] == "Bearer"
    assert "first" not in response.text


@pytest.mark.parametrize("headers", [{"X-API-Key": "first"}, {"Authorization": "Bearer second"}])
def test_predict_accepts_a_valid_key_in_either_header(make_client, headers):
    assert make_client(api_keys="first,second").post("/predict", content=PNG, headers=headers).status_code == 200


def test_probes_and_metrics_need_no_key(make_client):
    client = make_client(api_keys="first")
    assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert_problem(client.get("/info"), ErrorCode.UNAUTHORIZED)


def test_protected_metrics_need_a_key(make_client):
    client = make_client(api_keys="first", protect_metrics=True)
    assert_problem(client.get("/metrics"), ErrorCode.UNAUTHORIZED)
    assert client.get("/metrics", headers={"X-API-Key": "first"}).status_code == 200


def test_unknown_path_is_not_found(client):
    assert_problem(client.get("/no-such-path"), ErrorCode.NOT_FOUND)


def test_wrong_method_is_refused_with_the_allowed_method(client):
    response = client.get("/predict")
    assert_problem(response, ErrorCode.METHOD_NOT_ALLOWED)
    assert response.headers["allow"] == "POST"


def test_predict_failed_model_run_is_internal_and_hides_the_cause(client, classifier):
    classifier.poison = 7
    poisoned = np.full((48, 48), 7, dtype=np.uint8)
    response = client.post("/predict?detect=false", content=encoded(poisoned))
    assert_problem(response, ErrorCode.INTERNAL)
    assert "secret" not in response.text


def test_predict_before_the_model_is_loaded_is_not_ready(client):
    service = client.app.state.service
    model, service.engine._model = service.engine._model, None
    try:
        response = client.post("/predict", content=PNG)
    finally:
        service.engine._model = model
    assert_problem(response, ErrorCode.NOT_READY)
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("state", "code"), [(State.STARTING, ErrorCode.NOT_READY), (State.UNHEALTHY, ErrorCode.NOT_READY)]
)
def test_readyz_not_ready_has_the_reason(client, state, code):
    readiness = client.app.state.service.readiness
    readiness.state, readiness.reason = state, "the reason"
    response = client.get("/readyz")
    assert "the reason" in assert_problem(response, code)["detail"]
    assert "retry-after" in response.headers


def test_readyz_reports_the_drain_while_predictions_are_answered(client):
    client.app.state.service.readiness.drain()
    response = client.get("/readyz")
    assert_problem(response, ErrorCode.DRAINING)
    assert "retry-after" in response.headers
    assert client.post("/predict", content=PNG).status_code == 200


def test_predict_without_a_free_permit_is_overloaded_until_one_is_released(make_client, classifier):
    client = make_client(max_queue=2)
    classifier.released.clear()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(client.post, "/predict", content=PNG) for _ in range(2)]
        wait_until(lambda: client.app.state.service.admission.permits == 2)
        response = client.post("/predict", content=PNG)
        assert_problem(response, ErrorCode.OVERLOADED)
        assert "retry-after" in response.headers
        assert client.get("/healthz").status_code == 200
        classifier.released.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
    assert client.post("/predict", content=PNG).status_code == 200
    assert client.app.state.service.admission.permits == 0


def test_predict_after_the_deadline_is_deadline_exceeded(make_client, classifier):
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
    tracemalloc.start()
    try:
        assert_problem(client.post(path, content=body, headers=JSON), code)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)  # copies of the body; three million Python values need 20 times its size


def test_batch_too_many_images_is_refused(make_client):
    client = make_client(max_images=2)
    files = [("file", (f"{index}.png", PNG)) for index in range(3)]
    assert_problem(client.post("/predict/batch", files=files), ErrorCode.TOO_MANY_IMAGES)
    text = base64.b64encode(PNG).decode()
    assert_problem(client.post("/predict/batch", json={"images": [text] * 3}), ErrorCode.TOO_MANY_IMAGES)


def test_every_code_has_a_status_and_a_test():
    assert set(STATUS) == set(ErrorCode)
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [code for code in ErrorCode if f"ErrorCode.{code.name}" not in source] == []


def test_rejections_are_counted_by_code(client):
    client.post("/predict", content=b"")
    assert metric_value(client, 'fer_rejections_total{reason="empty_image"}') == 1


def test_predict_truncated_file_of_every_format_is_undecodable(client):
    for image_format in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        data = encoded(picture(1), image_format)
        assert_problem(client.post("/predict", content=data[: len(data) // 2]), ErrorCode.UNDECODABLE_IMAGE)


def multipart(*fields: tuple[str, bytes, bool]) -> dict:
    """Return the arguments of a multipart request.

    Args:
        fields: Name, data, and whether the part has a file name.
    """
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
def test_form_without_a_file_is_refused_with_its_parts(client, path):
    for fields, received in (
        ([("photo", PNG, True), ("x", b"1", False)], "Received: a file named photo, a text named x"),
        ([("file", b"photo.jpg", False)], "Received: a text named file"),
        ([], "Received: no part"),
    ):
        response = client.post(path, **multipart(*fields))
        assert response.status_code == 400
        assert response.json()["detail"] == f"expected a file part named file or image. {received}"


def test_image_in_a_part_without_a_file_name_is_accepted(client):
    response = client.post("/predict", **multipart(("file", PNG, False)))
    assert response.status_code == 200, response.text
    two = client.post("/predict", **multipart(("file", PNG, False), ("image", PNG, True)))
    assert (two.status_code, two.json()["code"]) == (413, "too_many_images")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/json", "image/png"])
def test_compressed_body_is_unsupported(client, path, kind):
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    response = client.post(path, content=gzip.compress(PNG), headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    if (path, kind) != ("/predict/batch", "image/png"):
        assert response.json()["detail"] == "expected a body without content coding. Received: gzip"


def test_unauthorized_distinguishes_a_wrong_key_from_no_key(make_client):
    client = make_client(api_keys="right")
    for headers, received in (({}, "no key"), ({"X-API-Key": "wrong"}, "another key")):
        assert client.get("/info", headers=headers).json()["detail"].endswith(f"Received: {received}")


def test_trailing_slash_is_not_found_and_not_redirected(client):
    response = client.post("/predict/", content=PNG, follow_redirects=False)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
