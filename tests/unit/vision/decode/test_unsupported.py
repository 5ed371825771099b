"""Errors name the format that was received and what to send."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pytest

from app.errors import ErrorCode
from app.vision.decode.formats import SUPPORTED_FORMATS
from tests.support.image_files import assert_refused
from tests.support.paths import REPOSITORY


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("photo.jpg", b"data")
    return stream.getvalue()


def media(brand: bytes, *compatible: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(compatible)
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + bytes(64)


FILES = {
    "MP4 video": media(b"isom", b"iso2", b"avc1", b"mp41"),
    "MP4": media(b"mp42", b"mp41"),
    "MP4 video ": media(b"M4V "),
    " MP4 video": media(b"3gp5"),
    "QuickTime video": media(b"qt  "),
    "MOV": media(b"qt  ", b"qt  "),
    " QuickTime": b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(64),
    "WebM": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01webm",
    "AVI video": b"RIFF\x10\0\0\0AVI LIST" + bytes(64),
    "WAV": b"RIFF\x10\0\0\0WAVEfmt " + bytes(64),
    "MPEG": b"\0\0\x01\xba" + bytes(64),
    "WMV": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(64),
    "CR3": media(b"crx ", b"crx ", b"isom"),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(64),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(64),
    "ORF": b"IIRO\x08\0\0\0" + bytes(64),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(64),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    " SVG": b'<?xml version="1.0"?>\n<!-- comment -->\n<svg width="1"/>',
    "SVG ": b'\xef\xbb\xbf<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN">\n<svg/>',
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "PDF ": b"\n\n%PDF-1.4\n",
    "JPEG XL": b"\xff\x0a\xfa\x7f\x01" + bytes(64),
    " JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
    " JPEG 2000": b"\xff\x4f\xff\x51\0\x2f" + bytes(64),
    "PSD": b"8BPS\0\x01" + bytes(64),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    " EPS": b"\xc5\xd0\xd3\xc6" + bytes(64),
    "ICO": b"\0\0\x01\0\x01\0\x10\x10" + bytes(64),
    "ZIP": archive(),
    "gzip": gzip.compress(b"photo"),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(64),
    "tar": b"photo.jpg".ljust(257, b"\0") + b"ustar\x0000" + bytes(64),
    "HTML": b"<!DOCTYPE html>\n<html><body>Not found</body></html>",
    " HTML": b"<html><head></head></html>",
    "JSON": json.dumps({"image": "/9j/4AAQ"}).encode(),
    " JSON": b"[1, 2]",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQ==",
    " base64": b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB",
    "data URL": b"data:image/png;base64,iVBORw0KGgo=",
    "URL": b"https://example.org/photo.jpg",
    "text": b"hello, world\n",
    " text": "Grüße aus Köln".encode(),
    "UTF-16": "text".encode("utf-16"),
    "Netpbm": b"P6\n2 2\n255\n" + bytes(12),
    "DICOM": bytes(128) + b"DICM" + bytes(64),
    "none of their signatures": bytes(100),
    " none of their signatures": b"\x8f\xfe\x12\x00\x93\x27\xee\x01" * 10,
}


@pytest.mark.parametrize("name", FILES)
def test_the_error_names_what_was_received_and_what_to_send(name):
    detail = assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, FILES[name]).detail
    expected, _, received = detail.partition(". Received: ")
    assert expected == f"expected a {SUPPORTED_FORMATS} file"
    description, _, advice = received.partition("; ")
    assert name.strip() in description
    assert any(word in advice for word in ("send", "export"))


@pytest.mark.parametrize(
    ("name", "word"), [("CR3", "JPEG"), ("MP4", "frame"), ("AVI video", "frame"), ("ZIP", "images")]
)
def test_the_error_says_what_to_do(name, word):
    detail = assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, FILES[name]).detail
    assert word in detail.partition("; ")[2]


@pytest.mark.parametrize("text", [b"\0", b"\xff", b"ab", b"<", b"RIFF", b"\0\0\0\x08ftyp", b"P6", b"{", b"\xff\xd8"])
def test_short_files_have_an_error_too(text):
    assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, text)


def test_every_document_lists_the_same_formats():
    for name in ("openapi.json",):
        assert SUPPORTED_FORMATS in (REPOSITORY / name).read_text()
    for name in ("README.md", "docs/client.md"):
        assert SUPPORTED_FORMATS.replace(" or ", " and ") in (REPOSITORY / name).read_text()
