"""Bad requests: broken forms, JSON, parameters and HTTP heads, and bodies without an end."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from stress.case import CLOSED, OK, Case
from stress.client import post
from tests.support.images import ASTRONAUT

_MALFORMED = ("malformed_request",)
_INVALID_PARAMETER = ("invalid_parameter",)
_FORM = "multipart/form-data; boundary=b"
_JSON = "application/json"


def request_cases() -> Iterator[Case]:
    """Yield all bad requests."""
    photo = ASTRONAUT.read_bytes()
    yield from _form_cases(photo)
    yield from _json_cases(photo)
    yield from _compat_cases()
    yield from _parameter_cases(photo)
    yield from _http_cases(photo)


def _form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def _part(data: bytes, name: str = "file") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode() + data


def _form_cases(photo: bytes) -> Iterator[Case]:
    many = ("too_many_images", "malformed_request")
    fields = [b'Content-Disposition: form-data; name="a"\r\n\r\nx'] * 20_000
    large_header = b"X: " + b"a" * 1_000_000 + b"\r\n\r\nx"
    other_parts = [_part(b"x", "other")] * 5000
    yield Case("empty part", post("/predict", _form(_part(b"")), _FORM), ("empty_image",))
    yield Case("5,000 parts", post("/predict/batch", _form(*[_part(b"")] * 5000), _FORM), many)
    yield Case("5,000 parts of other names", post("/predict", _form(*other_parts), _FORM), many)
    yield Case("20,000 text fields", post("/predict", _form(*fields), _FORM), _MALFORMED)
    yield Case("part header of 1 MB", post("/predict", _form(large_header), _FORM), _MALFORMED)
    for name, parameters in {
        "boundary that is not in the body": "boundary=c",
        "empty boundary": "boundary=",
        "no boundary": "",
        "boundary of 10,000 characters": "boundary=" + "b" * 10_000,
        "boundary outside ASCII": "boundary=\xff\xfe",
    }.items():
        yield Case(name, post("/predict", _form(_part(photo)), f"multipart/form-data; {parameters}"), _MALFORMED)
    yield Case("unknown charset", post("/predict", _form(_part(photo)), f"{_FORM}; charset=klingon"), (OK,))
    yield Case("body that ends in a part's head", post("/predict", b"--b\r\nContent-Dispo", _FORM), _MALFORMED)
    cut = _form(_part(photo), end=b"")[:-20]
    yield Case("body that ends in a part", post("/predict", cut, _FORM), _MALFORMED)


def _json_cases(photo: bytes) -> Iterator[Case]:
    def base64_of(characters: int) -> bytes:
        return json.dumps({"image": "A" * characters}).encode()

    entries = b'{"images": [' + b'"",' * 1_000_000 + b'""]}'
    lists = b"[" + b"[]," * 3_000_000 + b"[]]"
    image = b'"image": "' + base64.b64encode(photo) + b'"'
    yield Case("base64 of 26 MB", post("/predict", base64_of(26_000_000), _JSON), ("payload_too_large",))
    yield Case("base64 of 18 MB", post("/predict", base64_of(18_000_000), _JSON), ("unsupported_image_format",))
    yield Case("100,000 nested lists", post("/predict", b"[" * 100_000, _JSON), _MALFORMED)
    yield Case("1,000,000 entries", post("/predict/batch", entries, _JSON), ("too_many_images",))
    yield Case("3,000,000 lists for an image", post("/predict", b'{"image": ' + lists + b"}", _JSON), _MALFORMED)
    unknown = b"{" + image + b', "other": ' + lists + b"}"
    yield Case("3,000,000 lists in an unknown key", post("/predict", unknown, _JSON), _INVALID_PARAMETER)
    yield Case("UTF-16", post("/predict", json.dumps({"image": "AAAA"}).encode("utf-16"), _JSON), _MALFORMED)
    surrogate = post("/predict", b'{"image": "\\ud800"}', _JSON)
    yield Case("lone surrogate", surrogate, ("malformed_request", "invalid_base64"))
    yield Case("NaN for an image", post("/predict", b'{"image": NaN}', _JSON), _MALFORMED)
    yield Case("wrong charset", post("/predict", b"{" + image + b"}", f"{_JSON}; charset=utf-32"), (OK,))


def _compat_cases() -> Iterator[Case]:
    infer = "/v2/models/fer_vgg/infer"
    tensor = {"name": "image", "shape": [1, 48, 48, 1], "datatype": "UINT8", "data": ["a" * 250_000] + [""] * 2000}
    fields = post("/analyze", b"a=b&" * 2_500_000, "application/x-www-form-urlencoded")
    yield Case("a form of 2,500,000 fields", fields, ("400",))
    yield Case("long strings for numbers", post(infer, json.dumps({"inputs": [tensor]}).encode(), _JSON), ("400",))
    yield Case("200,000 empty inputs", post(infer, b'{"inputs": [' + b"{}," * 200_000 + b"{}]}", _JSON), ("400",))


def _parameter_cases(photo: bytes) -> Iterator[Case]:
    for query in (
        "max_faces=nan",
        "max_faces=-1",
        "min_face_size=-0.5",
        "min_face_size=inf",
        "detect=%ff",
        "max_faces=" + "9" * 5000,
        "unknown=1",
    ):
        yield Case(query[:30], post(f"/predict?{query}", photo), _INVALID_PARAMETER)


def _http_cases(photo: bytes) -> Iterator[Case]:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    large_chunks = (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 352
    trailers = b"1\r\na\r\n0\r\n" + b"h: v\r\n" * 1_700_000
    for name, request, results in (
        ("length above the body", head + b"Content-Length: 100000\r\n\r\nabc", ("deadline_exceeded",)),
        ("length below the body", head + b"Content-Length: 100\r\n\r\n" + photo, ("undecodable_image", "400")),
        ("negative length", head + b"Content-Length: -1\r\n\r\n", ("400",)),
        (
            "length of 5,000 digits",
            head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
            ("400", "payload_too_large"),
        ),
        ("two lengths", head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", ("400",)),
        (
            "length and chunks",
            head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ("400", "empty_image"),
        ),
        ("chunk size that is not a number", chunked + b"xyz\r\n", ("400",)),
        ("chunks without an end", chunked + b"3\r\nabc\r\n" * 50, ("deadline_exceeded",)),
        ("22 MB in chunks", chunked + large_chunks, ("payload_too_large",)),
        ("trailers of 10 MB", chunked + trailers, ("400", CLOSED, "unsupported_image_format")),
        ("header of 1 MB", head + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", ("400", "431", CLOSED)),
    ):
        yield Case(name, request, results)
