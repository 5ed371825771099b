"""Typed conversion of form fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from app.errors import ErrorCode, FerError

_MAX_DETAIL = 300  # msgspec quotes received values of any length

Body = TypeVar("Body")


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
