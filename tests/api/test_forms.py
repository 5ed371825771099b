"""Multipart bodies: the same parts wherever the body is cut, bounded in number, and plain words for what is wrong."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from app.api.parsing.form import read_form
from app.errors import ErrorCode, FerError

BODY = (
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nX: y\r\n\r\n\0\r\n--cu\xff\r\n'
    b'--cut\r\ncontent-disposition: form-data; name="n\xc3\xa4me"\r\n\r\nt\xc3\xa4xt\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="latin"\r\n\r\nt\xe4xt\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--cut--\r\n'
)


def read(body: bytes, step: int = 10_000, max_files: int = 10, kind: str = "multipart/form-data; boundary=cut"):
    async def scenario():
        pieces = [body[at : at + step] for at in range(0, len(body), step)]

        async def receive() -> dict:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
        request = Request(scope, receive)
        request.state.deadline = asyncio.get_running_loop().time() + 10
        return await read_form(request, max_files)

    return asyncio.run(scenario())


def texts(count: int) -> bytes:
    return b'--cut\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * count + b"--cut--\r\n"


@pytest.mark.parametrize("step", [1, 2, 7, 50, 10_000])
def test_parts_are_the_same_wherever_the_body_is_cut(step):
    parts = read(BODY, step)
    assert [(part.name, part.is_file, part.content) for part in parts] == [
        ("file", True, b"\0\r\n--cu\xff"),
        ("näme", False, "täxt"),
        ("latin", False, "täxt"),
        ("file", True, b""),
    ]
    assert parts[2].data == b"t\xe4xt"
    assert [part.text for part in parts[1:3]] == ["täxt", "täxt"]


@pytest.mark.parametrize("missing", [3, 10, 30, 200])
def test_form_that_is_cut_off_is_refused_whole(missing):
    """Else a batch would lose its last images, and nobody would know."""
    with pytest.raises(FerError, match="was cut off"):
        read(BODY[:-missing])


@pytest.mark.parametrize("end", [b"", b"\r\n", b"and an epilogue"])
def test_form_ends_with_its_last_boundary_whatever_follows(end):
    assert len(read(BODY.removesuffix(b"\r\n") + end)) == 4
    assert read(b"--cut--" + end) == []


@pytest.mark.parametrize(
    ("body", "options", "code", "named"),
    [
        (BODY, {"max_files": 1}, ErrorCode.TOO_MANY_IMAGES, "at most 1 file"),
        (texts(1001), {}, ErrorCode.MALFORMED_REQUEST, "Too many fields"),
        (BODY.replace(b'; name="latin"', b""), {}, ErrorCode.MALFORMED_REQUEST, '"name" must be provided'),
        (BODY, {"kind": "multipart/form-data"}, ErrorCode.MALFORMED_REQUEST, "expected a boundary"),
        (BODY, {"kind": "multipart/form-data; boundary=" + "a" * 300}, ErrorCode.MALFORMED_REQUEST, "be parsed"),
        (b"--other" + BODY, {}, ErrorCode.MALFORMED_REQUEST, "be parsed"),
    ],
    ids=["files", "texts", "no name", "no boundary", "long boundary", "another boundary"],
)
def test_form_that_is_wrong_is_refused_in_words(body, options, code, named):
    with pytest.raises(FerError) as error:
        read(body, **options)
    assert error.value.code == code
    assert named in error.value.detail


def test_form_with_as_many_parts_as_allowed_is_read():
    assert len(read(texts(1000))) == 1000
    assert len(read(BODY, max_files=2)) == 4
