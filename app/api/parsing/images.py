"""The input forms of `/predict` and `/predict/batch`: multipart, base64 in JSON, raw body.

Each form yields the bytes of the image files, and the options that the body carries beside them. Bodies are kept in
memory only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from msgspec import UNSET, Raw
from starlette.requests import Request

from app.api.options import OptionsQuery
from app.api.parsing.base64_image import from_base64
from app.api.parsing.body import JSON, MULTIPART, media_type, read_body
from app.api.parsing.form import Part, read_form
from app.api.parsing.json_body import body_type, decode_json, option_values
from app.errors import ErrorCode, FerError

FILE_FIELDS = ("file", "image")
JSON_FIELDS = ("image", "image_base64", "file", "img")
JSON_LIST_FIELD = "images"

_OPTIONS = tuple(OptionsQuery.model_fields)
_IMAGE_BODY = body_type("ImageBody", texts=JSON_FIELDS, others=_OPTIONS)
_BATCH_BODY = body_type("BatchBody", others=(JSON_LIST_FIELD, *_OPTIONS))


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The image of a request, and the options in its body."""

    image: bytes
    options: OptionsQuery


@dataclass(frozen=True, slots=True)
class BatchInput:
    """The images of a batch request in input order, and the options in its body.

    An entry that is not base64 is an error in the place of the image.
    """

    images: list[bytes | FerError]
    options: OptionsQuery


async def read_image(request: Request) -> ImageInput:
    """Read the one image of a request.

    Raises:
        FerError: `unsupported_media_type`, `malformed_request`, `invalid_parameter`, `invalid_base64`,
            `too_many_images`, `payload_too_large` or `deadline_exceeded`.
    """
    kind = media_type(request)
    if kind == MULTIPART:
        files, options = await _read_files(request, max_files=1)
        return ImageInput(files[0], options)
    body = await read_body(request)
    if kind == JSON:
        document = decode_json(body, _IMAGE_BODY)
        texts = {name: text for name in JSON_FIELDS if (text := getattr(document, name)) is not UNSET}
        if len(texts) != 1:
            raise FerError(
                ErrorCode.MALFORMED_REQUEST,
                f"expected a JSON object with one of the keys {', '.join(JSON_FIELDS)}."
                f" Received: {' and '.join(texts) or 'none of them'}",
            )
        ((name, text),) = texts.items()
        return ImageInput(from_base64(text, name), _json_options(document))
    if _may_be_image(kind, body):
        return ImageInput(body, OptionsQuery())
    raise FerError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"expected multipart/form-data, application/json, image/* or application/octet-stream. Received: {kind[:100]}",
    )


def _may_be_image(kind: str, body: bytes) -> bool:
    """Return whether a raw body is handled as an image file.

    The content type only excludes: the decoder identifies the format by the bytes. Many clients send an unspecific
    type, such as `binary/octet-stream` of object stores, or the URL-encoded form that `curl --data-binary` declares.
    Such a body is an image unless it is ASCII text, which no image file is.
    """
    main_type, _, subtype = kind.partition("/")
    if not kind or main_type in {"image", "binary"} or subtype.endswith("octet-stream"):
        return True
    return main_type not in {"text", "multipart"} and not body.isascii()


async def read_images(request: Request, max_images: int) -> BatchInput:
    """Read the images of a batch request.

    Raises:
        FerError: The request itself is malformed: the codes of `read_image`.
    """
    kind = media_type(request)
    images: list[bytes | FerError]
    if kind == MULTIPART:
        files, options = await _read_files(request, max_files=max_images)
        images = list(files)
    elif kind == JSON:
        document = decode_json(await read_body(request), _BATCH_BODY)
        images = _read_list(getattr(document, JSON_LIST_FIELD), max_images)
        options = _json_options(document)
    else:
        raise FerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected multipart/form-data or application/json. Received: {kind[:100] or 'no content type'}",
        )
    if not images:
        raise FerError(ErrorCode.MALFORMED_REQUEST, "expected at least one image. Received: none")
    return BatchInput(images, options)


async def _read_files(request: Request, max_files: int) -> tuple[list[bytes], OptionsQuery]:
    """Read the files of a form, at least one, and the options in its text parts."""
    parts = await read_form(request, max_files)
    images = [part for part in parts if _is_image(part)]
    if len(images) > max_files:
        raise _too_many(max_files)
    if not images:
        received = ", ".join(map(_describe, parts[:5]))
        raise FerError(
            ErrorCode.MALFORMED_REQUEST,
            f"expected a file part named {' or '.join(FILE_FIELDS)}. Received: {received or 'no part'}",
        )
    texts = _option_texts(part for part in parts if not _is_image(part))
    return [part.data for part in images], OptionsQuery.of_body(texts, strict=False)


def _option_texts(parts: Iterable[Part]) -> dict[str, str]:
    """Return the texts of options by name.

    Raises:
        FerError: `invalid_parameter`: a part is not an option.
    """
    texts: dict[str, str] = {}
    for part in parts:
        if part.is_file or part.name not in _OPTIONS:
            raise FerError(
                ErrorCode.INVALID_PARAMETER,
                f"{part.name[:50]}: expected a file named {' or '.join(FILE_FIELDS)}, or a text named"
                f" {', '.join(_OPTIONS)}. Received: {_describe(part)}",
            )
        texts[part.name] = part.text
    return texts


def _describe(part: Part) -> str:
    return f"{'a file' if part.is_file else 'a text'} named {part.name[:50]}"


def _json_options(document: msgspec.Struct) -> OptionsQuery:
    return OptionsQuery.of_body(option_values(document, _OPTIONS), strict=True)


def _is_image(part: Part) -> bool:
    """A client may omit the file name. Such a part is an image if it is not ASCII text: no image file is ASCII."""
    return part.name in FILE_FIELDS and (part.is_file or not part.data.isascii())


def _read_list(raw: Raw, max_images: int) -> list[bytes | FerError]:
    if not raw:
        raise FerError(
            ErrorCode.MALFORMED_REQUEST, f"expected a JSON object with the key {JSON_LIST_FIELD}. Received: no such key"
        )
    entries = decode_json(raw, _list_type(max_images + 1))
    values = [value for name in entries.__struct_fields__ if (value := getattr(entries, name))]
    if len(values) > max_images:
        raise _too_many(max_images)
    return [_base64_or_error(value, f"{JSON_LIST_FIELD}[{index}]") for index, value in enumerate(values)]


@lru_cache(maxsize=8)
def _list_type(entries: int) -> type[msgspec.Struct]:
    """Return the type of the first entries of a JSON list. The decoder skips the other entries."""
    fields = [(f"entry_{index}", Raw, Raw()) for index in range(entries)]
    return msgspec.defstruct("Entries", fields, array_like=True)


def _base64_or_error(value: Raw, name: str) -> bytes | FerError:
    try:
        return from_base64(msgspec.json.decode(value, type=str), name)
    except FerError as error:
        # A new error: the traceback of the caught one refers to the list of all images.
        return FerError(error.code, error.detail)
    except ValueError:
        return FerError(ErrorCode.MALFORMED_REQUEST, f"{name} must be a base64 string")


def _too_many(max_images: int) -> FerError:
    return FerError(ErrorCode.TOO_MANY_IMAGES, f"at most {max_images} images are accepted. Received: more")
