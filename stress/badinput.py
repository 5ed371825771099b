"""Hand-made bad requests against the real service: `python -m stress.badinput`.

Bombs of every format, pictures of one pixel and of one row, broken multipart bodies, wrong lengths and charsets,
numbers that are none, bodies that never end. Each must get its code, never a 5xx but the 504 of the deadline, and none
may take more memory than allowed. After each, a portrait is answered as before.
"""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stress.caller import post
from stress.findings import RUNS, Finding, conclude
from stress.process import ServiceProcess, running

PHOTO = Path("tests/photos/astronaut.jpg").read_bytes()
MEMORY_MB = 150
DEADLINE_MS = 3000
_CLIENT_WAITS_S = 60


@dataclass(frozen=True)
class Case:
    """A bad request, as bytes, and the codes of which its answer must have one; empty for a 200."""

    name: str
    request: bytes
    codes: tuple[str, ...]


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _pictures()
    yield from _multipart()
    yield from _json()
    yield from _http()


def _pictures() -> Iterator[Case]:
    too_many, small, undecodable = ("too_many_pixels",), ("image_too_small",), ("undecodable_image",)
    for name, data in {
        "PNG of 40,000 x 40,000": _png(40_000, 40_000),
        "PNG of 2^31 x 2^31": _png(2**31 - 1, 2**31 - 1),
        "GIF of 65,535 x 65,535": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + _GIF_REST,
        "WebP of 16,384 x 16,384": _webp(16_384, 16_384),
        "TIFF of 60,000 x 60,000": _tiff(60_000, 60_000),
        "BMP of 60,000 x 60,000": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
    }.items():
        yield Case(name, post("/predict", data), (*too_many, *undecodable))
    # A few kilobytes that decode to the largest picture allowed, in the modes that take the most memory.
    yield Case("PNG bomb within the limit, grey", post("/predict", _png(6_300, 6_300, whole=True)), ())
    for mode, image_format in (("RGB", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGB", "WEBP"), ("RGB", "JPEG")):
        stream = io.BytesIO()
        Image.new(mode, (6_300, 6_300)).save(stream, image_format)
        name = f"{image_format} bomb within the limit, {mode}"
        yield Case(name, post("/predict", stream.getvalue()), ("200", *too_many))
    for size in ((1, 1), (1, 60_000), (60_000, 1)):
        for image_format in ("PNG", "GIF", "BMP", "TIFF"):
            stream = io.BytesIO()
            Image.new("L", size, 128).save(stream, image_format)
            yield Case(f"{image_format} of {size[0]} x {size[1]}", post("/predict", stream.getvalue()), small)
    yield Case("JPEG cut in the middle", post("/predict", PHOTO[: len(PHOTO) // 2]), undecodable)
    for name, data in {
        "JPEG of 2,500,000 segments": PHOTO[:2] + b"\xff\xe1\x00\x02" * 2_500_000 + PHOTO[2:],
        "JPEG of 2,500,000 comments": PHOTO[:2] + b"\xff\xfe\x00\x02" * 2_500_000 + PHOTO[2:],
        "JPEG of 10,000,000 fill bytes": PHOTO[:2] + b"\xff" * 10_000_000 + PHOTO[2:],
        "GIF with a comment of 5,000,000 pieces": b"GIF89a\x40\x00\x40\x00\x00\x00\x00!\xfe" + b"\x01a" * 5_000_000,
    }.items():
        yield Case(name, post("/predict", data), undecodable)
    yield Case("no bytes", post("/predict", b""), ("empty_image",))
    yield Case("one byte", post("/predict", b"\xff"), ("unsupported_image_format",))


def _multipart() -> Iterator[Case]:
    def form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
        return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end

    def part(data: bytes, name: str = "file") -> bytes:
        return f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode() + data

    kind, malformed = "multipart/form-data; boundary=b", ("malformed_request",)
    many = ("too_many_images", "malformed_request")
    yield Case("part of no length", post("/predict", form(part(b"")), kind), ("empty_image",))
    yield Case("5,000 parts", post("/predict/batch", form(*[part(b"")] * 5000), kind), many)
    yield Case("5,000 parts of other names", post("/predict", form(*[part(b"x", "other")] * 5000), kind), many)
    yield Case(
        "20,000 text fields",
        post("/predict", form(*[b'Content-Disposition: form-data; name="a"\r\n\r\nx'] * 20_000), kind),
        malformed,
    )
    yield Case(
        "header of a megabyte in a part",
        post("/predict", form(b"X: " + b"a" * 1_000_000 + b"\r\n\r\nx"), kind),
        malformed,
    )
    for name, boundary in {
        "another boundary than the body's": "boundary=c",
        "empty boundary": "boundary=",
        "no boundary": "",
        "boundary of 10,000 characters": "boundary=" + "b" * 10_000,
        "boundary that is no ASCII": "boundary=\xff\xfe",
        "charset that does not exist": "boundary=b; charset=klingon",
    }.items():
        request = post(
            "/predict", form(part(PHOTO)), f"multipart/form-data; {boundary}".encode("latin-1").decode("latin-1")
        )
        yield Case(name, request, () if "charset" in name else malformed)
    yield Case("body that stops in a part's head", post("/predict", b"--b\r\nContent-Dispo", kind), malformed)
    yield Case("body that stops in a part", post("/predict", form(part(PHOTO), end=b"")[:-20], kind), malformed)


def _json() -> Iterator[Case]:
    kind, malformed, no_base64 = "application/json", ("malformed_request",), ("invalid_base64",)
    too_large = ("payload_too_large",)
    yield Case("base64 of 13 MB", post("/predict", json.dumps({"image": "A" * 13_000_000}).encode(), kind), too_large)
    yield Case(
        "base64 of 9 MB",
        post("/predict", json.dumps({"image": "A" * 9_000_000}).encode(), kind),
        ("unsupported_image_format",),
    )
    yield Case("100,000 nested lists", post("/predict", b"[" * 100_000, kind), malformed)
    yield Case(
        "1,000,000 entries",
        post("/predict/batch", b'{"images": [' + b'"",' * 1_000_000 + b'""]}', kind),
        ("too_many_images",),
    )
    yield Case("3,000,000 lists", post("/predict", b'{"image": [' + b"[]," * 3_000_000 + b"[]]}", kind), malformed)
    yield Case(
        "a form of 2,500,000 fields",
        post("/analyze", b"a=b&" * 2_500_000, "application/x-www-form-urlencoded"),
        ("400",),
    )
    infer = "/v2/models/fer_vgg/infer"
    tensor = {"name": "image", "shape": [1, 48, 48, 1], "datatype": "UINT8", "data": ["a" * 250_000] + [""] * 2000}
    yield Case("long texts for numbers", post(infer, json.dumps({"inputs": [tensor]}).encode(), kind), ("400",))
    yield Case("200,000 empty inputs", post(infer, b'{"inputs": [' + b"{}," * 200_000 + b"{}]}", kind), ("400",))
    yield Case("UTF-16", post("/predict", json.dumps({"image": "AAAA"}).encode("utf-16"), kind), malformed)
    yield Case("lone surrogate", post("/predict", b'{"image": "\\ud800"}', kind), (*malformed, *no_base64))
    yield Case("NaN for an image", post("/predict", b'{"image": NaN}', kind), malformed)
    text = base64.b64encode(PHOTO)
    yield Case(
        "charset that is not the body's", post("/predict", b'{"image": "' + text + b'"}', kind + "; charset=utf-32"), ()
    )
    for query in (
        "max_faces=nan",
        "max_faces=-1",
        "min_face_size=-0.5",
        "min_face_size=inf",
        "detect=%ff",
        "max_faces=" + "9" * 5000,
    ):
        yield Case(query[:30], post(f"/predict?{query}", PHOTO), ("invalid_parameter",))


def _http() -> Iterator[Case]:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    yield Case("length longer than the body", head + b"Content-Length: 100000\r\n\r\nabc", ("deadline_exceeded",))
    yield Case(
        "length shorter than the body", head + b"Content-Length: 100\r\n\r\n" + PHOTO, ("undecodable_image", "400")
    )
    yield Case("negative length", head + b"Content-Length: -1\r\n\r\n", ("400",))
    yield Case(
        "length of 5,000 digits", head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", ("400", "payload_too_large")
    )
    yield Case("two lengths", head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", ("400",))
    yield Case(
        "length and chunks",
        head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ("400", "empty_image"),
    )
    yield Case("chunk of no number", head + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", ("400",))
    yield Case(
        "chunks that never end",
        head + b"Transfer-Encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 50,
        ("deadline_exceeded",),
    )
    yield Case(
        "11 MB in chunks",
        head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 176,
        ("payload_too_large",),
    )
    yield Case(
        "trailers of 10 MB",
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"h: v\r\n" * 1_700_000,
        ("400", "closed", "unsupported_image_format"),
    )
    yield Case("header of a megabyte", head + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", ("400", "431", "closed"))


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Sends bytes as they are; the status and the body, or 0 where the connection was closed without an answer."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_CLIENT_WAITS_S) as connection:
        with suppress(OSError):  # refused before all of it was sent: the answer is there
            connection.sendall(request)
        with suppress(OSError):
            while not _is_whole(received) and (more := connection.recv(65_536)):
                received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head[9:12]), body) if head else (0, b"")


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths and len(body) >= int(lengths[0]))


def stable(body: bytes) -> dict:
    """An answer without what differs from request to request."""
    answer = json.loads(body)
    return {name: value for name, value in answer.items() if name not in {"request_id", "timings_ms"}}


def attempt(service: ServiceProcess, case: Case, expected: dict, finding: Finding) -> float:
    """Sends one case; the memory above rest that it took, in MB."""
    rest_mb = service.memory_mb
    service.forget_peak()
    status, body = ask(service.port, case.request)
    above_mb = service.peak_mb - rest_mb
    code = _code(status, body)
    finding.expect(code in (case.codes or ("200",)), f"{case.name}: {code} instead of {' or '.join(case.codes) or 200}")
    finding.expect(b"Traceback" not in body and b"site-packages" not in body, f"{case.name}: a traceback")
    finding.expect(above_mb <= MEMORY_MB, f"{case.name}: {above_mb:.0f} MB above rest")
    status, body = ask(service.port, post("/predict", PHOTO))
    finding.expect(status == 200 and stable(body) == expected, f"after {case.name} a portrait is answered otherwise")
    return above_mb


def _code(status: int, body: bytes) -> str:
    if status in {0, 200}:
        return "closed" if status == 0 else "200"
    try:
        return str(json.loads(body)["code"])
    except (ValueError, KeyError):
        return str(status)  # the HTTP server's own answer: no application has seen the request


def main() -> int:
    """Prints and keeps the findings; 1 where a promise was broken."""
    finding = Finding("bad input gets its code and takes little memory", "")
    began, count, worst = time.monotonic(), 0, (0.0, "")
    with running(RUNS / "badinput.log", FER_DEADLINE_MS=str(DEADLINE_MS)) as service:
        for _ in range(20):  # until the service has the memory that it works with
            status, body = ask(service.port, post("/predict", PHOTO))
        expected = stable(body)
        finding.expect(status == 200, f"a portrait is answered with {status}")
        for case in cases():
            count += 1
            worst = max(worst, (attempt(service, case, expected, finding), case.name))
    log = (RUNS / "badinput.log").read_text()
    finding.expect("Traceback" not in log, "there is a traceback in the log")
    finding.tried = f"{count} kinds of bad request, one after the other, in {time.monotonic() - began:.0f} s"
    finding.seen = f"at most {worst[0]:.0f} MB above rest ({worst[1]})"
    return conclude("badinput", [finding])


_GIF_REST = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\x00;"


def _png(width: int, height: int, whole: bool = False) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes((width + 1) * height) if whole else bytes(100), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _webp(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    lossless = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(lossless)) + b"WEBP" + extended + lossless


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


if __name__ == "__main__":
    sys.exit(main())
