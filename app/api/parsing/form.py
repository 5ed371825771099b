"""Multipart bodies, parsed by Starlette and kept in memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.api.parsing.body import reading
from app.errors import ErrorCode, FerError

_MAX_TEXTS = 1000  # the API has a text part for each option


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body.

    Attributes:
        name: Name of the field.
        content: Bytes of a part with a file name, text of any other part.
    """

    name: str
    content: bytes | str

    @property
    def is_file(self) -> bool:
        """True if the part has a file name."""
        return isinstance(self.content, bytes)

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else self.content.decode("utf-8", "replace")

    @property
    def data(self) -> bytes:
        """The content as bytes. Starlette decodes bytes that are not UTF-8, such as an image, as Latin-1."""
        if isinstance(self.content, bytes):
            return self.content
        try:
            return self.content.encode("latin-1")
        except UnicodeEncodeError:
            return self.content.encode()


class _MemoryParser(MultiPartParser):
    """Starlette's parser without temporary files on disk. It records whether the body was complete."""

    spool_max_size = sys.maxsize
    is_complete = False

    def on_end(self) -> None:
        """Record the final boundary. A body that was cut off has none."""
        self.is_complete = True


async def read_form(request: Request, max_files: int) -> list[Part]:
    """Parse a multipart body.

    Args:
        request: Request with a multipart content type.
        max_files: Largest number of file parts.

    Returns:
        The parts in the order of the body.

    Raises:
        FerError: `too_many_images`, `malformed_request`, `unsupported_media_type`, `payload_too_large` or
            `deadline_exceeded`.
    """
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "expected a boundary in multipart/form-data. Received: none")
    # Without the charset of the request: the codecs of some charsets take minutes for megabytes of text.
    headers = Headers(raw=[(b"content-type", b'multipart/form-data; boundary="' + boundary + b'"')])

    async def whole_body() -> AsyncGenerator[bytes, None]:
        async for chunk in _without_preamble(request.stream(), boundary):
            yield chunk
        if not parser.is_complete:
            raise MultiPartException("it was cut off: expected the boundary followed by -- at the end. Received: none")

    parser = _MemoryParser(headers, whole_body(), max_files=max_files, max_fields=_MAX_TEXTS, max_part_size=sys.maxsize)
    try:
        async with reading(request):
            form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise FerError(
                ErrorCode.TOO_MANY_IMAGES,
                f"expected at most {max_files} {'file' if max_files == 1 else 'files'} in the form. Received: more",
            ) from None
        raise FerError(
            ErrorCode.MALFORMED_REQUEST, f"the multipart body cannot be parsed: {error.message[:200]}"
        ) from None
    items = form.multi_items()
    parts = [Part(name, value if isinstance(value, str) else value.file.read()) for name, value in items]
    await form.close()
    return parts


async def _without_preamble(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a multipart body from its first boundary on: the parser refuses a preamble (RFC 2046, 5.1.1)."""
    delimiter = b"\r\n--" + boundary
    tail = b"\r\n"  # a boundary at the start of the body needs no line end before it
    async for chunk in chunks:
        searched = tail + chunk
        if (start := searched.find(delimiter)) >= 0:
            yield searched[start + 2 :]
            break
        tail = searched[-len(delimiter) :]
    else:
        raise MultiPartException("expected the boundary of the content type at the start of a line. Received: none")
    async for chunk in chunks:
        yield chunk
