"""Multipart bodies: parts, limits and error messages."""

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


def parse(body: bytes, step: int = 10_000, max_files: int = 10, kind: str = "multipart/form-data; boundary=cut"):
    """Parse a body that arrives in messages of `step` bytes."""

    async def scenario():
        messages = [body[at : at + step] for at in range(0, len(body), step)]

        async def receive() -> dict:
            return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

        scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
        request = Request(scope, receive)
        request.state.deadline = asyncio.get_running_loop().time() + 10
        return await read_form(request, max_files)

    return asyncio.run(scenario())


def text_parts(count: int) -> bytes:
    return b'--cut\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * count + b"--cut--\r\n"


@pytest.mark.parametrize("step", [1, 2, 7, 50, 10_000])
def test_parts_do_not_depend_on_the_size_of_the_messages(step):
    parts = parse(BODY, step)
    assert [(part.name, part.is_file, part.content) for part in parts] == [
        ("file", True, b"\0\r\n--cu\xff"),
        ("näme", False, "täxt"),
        ("latin", False, "täxt"),
        ("file", True, b""),
    ]
    assert parts[2].data == b"t\xe4xt"
    assert [part.text for part in parts[1:3]] == ["täxt", "täxt"]


@pytest.mark.parametrize("missing", [3, 10, 30, 200])
def test_truncated_form_is_refused(missing):
    """Otherwise a batch would lose its last images without an error."""
    with pytest.raises(FerError, match="was cut off"):
        parse(BODY[:-missing])


@pytest.mark.parametrize("end", [b"", b"\r\n", b"and an epilogue"])
def test_bytes_after_the_last_boundary_are_ignored(end):
    assert len(parse(BODY.removesuffix(b"\r\n") + end)) == 4
    assert parse(b"--cut--" + end) == []


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "preamble", [b"\r\n", b"A preamble.\r\n", b"\n--c --cut\r\r\n", b"--other--cut\r\n" + b"x" * 9000 + b"\r\n"]
)
def test_preamble_is_ignored(preamble, step):
    assert parse(preamble + BODY, step) == parse(BODY)


@pytest.mark.parametrize(
    ("body", "options", "code", "detail"),
    [
        (BODY, {"max_files": 1}, ErrorCode.TOO_MANY_IMAGES, "at most 1 file"),
        (text_parts(1001), {}, ErrorCode.MALFORMED_REQUEST, "Too many fields"),
        (BODY.replace(b'; name="latin"', b""), {}, ErrorCode.MALFORMED_REQUEST, '"name" must be provided'),
        (BODY, {"kind": "multipart/form-data"}, ErrorCode.MALFORMED_REQUEST, "expected a boundary"),
        (BODY, {"kind": "multipart/form-data; boundary=" + "a" * 300}, ErrorCode.MALFORMED_REQUEST, "be parsed"),
        (BODY.replace(b"--cut", b"--other"), {}, ErrorCode.MALFORMED_REQUEST, "expected the boundary"),
    ],
    ids=["files", "texts", "no name", "no boundary", "long boundary", "another boundary"],
)
def test_invalid_form_is_refused_with_a_code_and_a_reason(body, options, code, detail):
    with pytest.raises(FerError) as error:
        parse(body, **options)
    assert error.value.code == code
    assert detail in error.value.detail


def test_form_with_the_largest_number_of_parts_is_parsed():
    assert len(parse(text_parts(1000))) == 1000
    assert len(parse(BODY, max_files=2)) == 4
