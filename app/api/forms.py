"""Multipart bodies, kept in memory: python-multipart's parser, without the temporary files that Starlette's adds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.errors import ErrorCode, FerError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# A form of ours has one field for each option of `api.md`, and files.
_MAX_TEXTS = 1000


@dataclass(slots=True)
class Part:
    """One part of a form.

    Attributes:
        name: Of the field.
        is_file: Whether it has a file name; else it is a text.
        data: What it holds.
    """

    name: str = ""
    is_file: bool = False
    data: bytes = b""

    @property
    def text(self) -> str:
        """The data as a text: UTF-8, or Latin-1 where it is not that."""
        return _decoded(self.data)


async def read_form(request: Request, max_files: int) -> list[Part]:
    """The parts of a multipart body, in their order. The body limit bounds them.

    Args:
        request: Its media type is multipart.
        max_files: More are refused as soon as they begin.

    Raises:
        FerError: `too_many_images`, `malformed_request`, `unsupported_media_type`, `payload_too_large` or
            `deadline_exceeded`.
    """
    check_coding(request)
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "multipart/form-data needs a boundary")
    form = _Form(max_files)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async with asyncio.timeout_at(request.state.deadline):
            async for chunk in request.stream():
                parser.write(chunk)
    except TimeoutError:
        raise too_slow() from None
    except FormParserError:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the multipart body cannot be parsed") from None
    if not form.ended:
        raise FerError(
            ErrorCode.MALFORMED_REQUEST,
            "the multipart body was cut off: expected the boundary with -- behind it at the end. Received: none",
        )
    return form.parts


def check_coding(request: Request) -> None:
    """Refuses a compressed body, which is read by no one here.

    Raises:
        FerError: `unsupported_media_type`.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() not in {"", "identity"}:
        raise FerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"expected a body without content coding. Received: {coding[:100]}"
        )


def too_slow() -> FerError:
    """The error of a body that takes too long."""
    return FerError(ErrorCode.DEADLINE_EXCEEDED, "the body did not arrive within the deadline")


@dataclass(slots=True)
class _Form:
    """What the parser has told so far."""

    max_files: int
    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _files: int = 0
    _texts: int = 0
    _part: Part = field(default_factory=Part)
    _chunks: list[bytes] = field(default_factory=list)
    _header: bytes = b""
    _value: bytes = b""
    _disposition: bytes = b""

    def callbacks(self) -> MultipartCallbacks:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_header,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
            "on_end": self._end_form,
        }

    def _begin(self) -> None:
        self._part, self._chunks, self._disposition = Part(), [], b""

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise FerError(ErrorCode.MALFORMED_REQUEST, "a part of the multipart body has no name")
        self._part.name = _decoded(name)
        self._part.is_file = b"filename" in options
        self._files += self._part.is_file
        self._texts += not self._part.is_file
        if self._files > self.max_files:
            raise FerError(ErrorCode.TOO_MANY_IMAGES, f"at most {self.max_files} file parts are accepted")
        if self._texts > _MAX_TEXTS:
            raise FerError(ErrorCode.MALFORMED_REQUEST, f"at most {_MAX_TEXTS} text parts are accepted")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def _end(self) -> None:
        self._part.data = b"".join(self._chunks)
        self.parts.append(self._part)

    def _end_form(self) -> None:
        self.ended = True


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
