"""Typed decoding of JSON request bodies.

The decoder builds only what the type names. It skips all other values without building them, so a body of 10 MiB of
empty lists under an unknown key takes milliseconds and no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from app.errors import ErrorCode, FerError

_MAX_DETAIL = 300  # msgspec quotes received values of any length

Body = TypeVar("Body")


def decode_json(
    body: bytes | msgspec.Raw,
    body_type: type[Body],
    code: ErrorCode = ErrorCode.MALFORMED_REQUEST,
    strict: bool = True,
) -> Body:
    """Decode a JSON document.

    Args:
        body: UTF-8 text.
        body_type: What the document must be, usually a `msgspec.Struct`. Keys that the type does not have are skipped.
        code: The error code for a document of another type.
        strict: False also accepts numbers and booleans that are written as strings.

    Raises:
        FerError: `malformed_request` for a body that is not JSON; `code` for a document of another type.
    """
    try:
        return msgspec.json.decode(body, type=body_type, strict=strict)
    except msgspec.ValidationError as error:
        raise FerError(code, str(error)[:_MAX_DETAIL]) from None
    except (ValueError, RecursionError):  # ValueError includes msgspec.DecodeError and UnicodeDecodeError
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body is not valid JSON") from None


def convert_form(fields: Mapping[str, Any], body_type: type[Body], code: ErrorCode) -> Body:
    """Convert the text fields of a form as `decode_json` does with `strict=False`.

    Args:
        fields: Values by name. Names that the type does not have are ignored.
        body_type: A `msgspec.Struct`.
        code: The error code for a field of another type.

    Raises:
        FerError: `code`.
    """
    try:
        return msgspec.convert(dict(fields), body_type, strict=False)
    except msgspec.ValidationError as error:
        raise FerError(code, str(error)[:_MAX_DETAIL]) from None
