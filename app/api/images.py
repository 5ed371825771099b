"""The request forms of `api.md`: multipart, base64 in JSON, raw body. In: a request. Out: the bytes of image files.

The body is read within the request's deadline and kept in memory only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import numpy as np
import pybase64
from pydantic_core import from_json
from starlette.requests import Request

from app.api.forms import Part, check_coding, read_form, too_slow
from app.errors import ErrorCode, FerError

FILE_FIELDS = ("file", "image")
JSON_FIELDS = ("image", "image_base64", "file", "img")
JSON_LIST_FIELD = "images"
MAX_JSON_COMMAS = 100_000  # a request has one for each image and option

_TO_STANDARD, _WHITE_SPACE = bytes.maketrans(b"-_", b"+/"), b" \t\n\r\v\f"
URL_ENCODED = "application/x-www-form-urlencoded"


async def read_image(request: Request) -> bytes:
    """The one image of a request.

    Raises:
        FerError: `unsupported_media_type`, `malformed_request`, `invalid_base64`, `payload_too_large` or
            `deadline_exceeded`.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        parts = await _file_parts(request, max_files=1)
        return parts[0]
    body = await read_body(request)
    if kind == "application/json":
        return from_base64(_json_field(body, JSON_FIELDS), JSON_FIELDS[0])
    # `curl --data-binary` calls whatever it sends a form. A form is ASCII, and no image file is.
    if (
        kind in {"", "application/octet-stream"}
        or kind.startswith("image/")
        or (kind == URL_ENCODED and not body.isascii())
    ):
        return body
    raise FerError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"expected multipart/form-data, application/json, image/* or application/octet-stream. Received: {kind[:100]}",
    )


async def read_images(request: Request, max_images: int) -> list[bytes | FerError]:
    """The images of a batch request, in input order; a FerError in the place of one that is no base64.

    Raises:
        FerError: The request itself is malformed; codes as `read_image`, and `too_many_images`.
    """
    kind = media_type(request)
    images: list[bytes | FerError]
    if kind == "multipart/form-data":
        images = list(await _file_parts(request, max_files=max_images))
    elif kind == "application/json":
        values = _json_field(await read_body(request), (JSON_LIST_FIELD,), ErrorCode.TOO_MANY_IMAGES)
        if not isinstance(values, list):
            raise FerError(ErrorCode.MALFORMED_REQUEST, f"{JSON_LIST_FIELD} must be a list of base64 strings")
        if len(values) > max_images:
            raise _too_many(len(values), max_images)
        images = [_base64_or_error(value, f"{JSON_LIST_FIELD}[{index}]") for index, value in enumerate(values)]
    else:
        raise FerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected multipart/form-data or application/json. Received: {kind[:100]}",
        )
    if not images:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "expected at least one image. Received: none")
    return images


def media_type(request: Request) -> str:
    """The content type of a request, lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        FerError: `unsupported_media_type`, `payload_too_large` or `deadline_exceeded`.
    """
    check_coding(request)
    try:
        async with asyncio.timeout_at(request.state.deadline):
            return await request.body()
    except TimeoutError:
        raise too_slow() from None


async def _file_parts(request: Request, max_files: int) -> list[bytes]:
    """The files of a form, at least one."""
    parts = await read_form(request, max_files)
    files = [part.data for part in parts if part.name in FILE_FIELDS and _holds_a_file(part)]
    if len(files) > max_files:
        raise _too_many(len(files), max_files)
    if not files:
        received = ", ".join(f"{'a file' if part.is_file else 'a text'} named {part.name[:50]}" for part in parts[:5])
        raise FerError(
            ErrorCode.MALFORMED_REQUEST,
            f"expected a file part named {' or '.join(FILE_FIELDS)}. Received: {received or 'no part'}",
        )
    return files


def _holds_a_file(part: Part) -> bool:
    """A file's name may be left out; then only what no text can be is taken for a file: no image is ASCII."""
    return part.is_file or not part.data.isascii()


def check_commas(body: bytes, most: int, code: ErrorCode = ErrorCode.MALFORMED_REQUEST) -> None:
    """Refuses JSON of more values than a request can need, unread.

    Reading 10 MiB of `[],` would hold up the event loop for most of a second, and take 250 MB.

    Args:
        body: Of a request.
        most: Commas in it, those of texts included; each value but the first has one before it.
        code: What is wrong with a body of more.

    Raises:
        FerError: The code.
    """
    if len(body) <= most:
        return
    commas = int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord(",")))
    if commas > most:
        raise FerError(code, f"at most {most} commas are accepted in a JSON body. Received: {commas}")


def json_object(body: bytes, endless: ErrorCode = ErrorCode.MALFORMED_REQUEST) -> dict[str, Any]:
    """The JSON object that a body is.

    Args:
        body: Of a request.
        endless: What is wrong with one of more values than any request needs.

    Raises:
        FerError: `malformed_request`, or that.
    """
    check_commas(body, MAX_JSON_COMMAS, endless)
    try:
        document = from_json(body)
    except ValueError:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body must be a JSON object")
    return document


def _json_field(body: bytes, names: tuple[str, ...], endless: ErrorCode = ErrorCode.MALFORMED_REQUEST) -> Any:
    document = json_object(body, endless)
    found = [name for name in names if name in document]
    if not found:
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"expected a JSON object with the key {' or '.join(names)}")
    return document[found[0]]


def _base64_or_error(value: Any, name: str) -> bytes | FerError:
    try:
        return from_base64(value, name)
    except FerError as error:
        # Not the error itself: its traceback leads to the list that it goes into, which has all images.
        return FerError(error.code, error.detail)


def from_base64(value: Any, name: str) -> bytes:
    """Decodes standard or URL-safe base64; padding and white space do not matter, a data URL's prefix is dropped.

    Raises:
        FerError: `malformed_request` for what is no string, else `invalid_base64`; `name` says what it was.
    """
    if not isinstance(value, str):
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"{name} must be a base64 string")
    text = value.strip()
    if text[:5].lower() == "data:":
        prefix, _, text = text.partition(",")
        if not (prefix.lower().startswith("data:image/") and prefix.lower().endswith(";base64")):
            raise FerError(ErrorCode.INVALID_BASE64, f"{name}: a data URL must begin with data:image/...;base64,")
    with suppress(ValueError):  # as nearly all send it; to normalise that too takes ten times as long as to decode it
        return pybase64.b64decode(text, validate=True)
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD, _WHITE_SPACE).rstrip(b"=")
        return pybase64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except ValueError:
        raise FerError(
            ErrorCode.INVALID_BASE64, f"{name} is not valid base64 (standard or URL-safe alphabet, padding optional)"
        ) from None


def _too_many(count: int, most: int) -> FerError:
    return FerError(ErrorCode.TOO_MANY_IMAGES, f"at most {most} images are accepted. Received: {count}")
