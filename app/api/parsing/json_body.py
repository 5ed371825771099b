"""JSON bodies, decoded by type.

The decoder builds only the declared keys. Ten megabytes of values in an unknown key cost neither memory nor time: the
body is refused at the key.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from app.errors import ErrorCode, FerError

Document = TypeVar("Document")

_ABSENT = Raw()
_MAX_OPTION_BYTES = 100  # the longest valid value is a short number
_MAX_REASON_CHARACTERS = 300  # msgspec quotes keys of any length


def body_type(name: str, texts: Collection[str] = (), others: Collection[str] = ()) -> type[msgspec.Struct]:
    """Return the type of a JSON object that has these keys and no others.

    Args:
        name: Name of the type, for debugging.
        texts: Keys with a string; `UNSET` if the key is absent.
        others: Keys with any value, kept as raw JSON; empty if the key is absent.
    """
    fields: list[tuple[str, Any, Any]] = [(key, str | UnsetType, UNSET) for key in texts]
    fields += [(key, Raw, _ABSENT) for key in others]
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True)


def decode_json(
    body: bytes | Raw,
    body_type: type[Document],
    code: ErrorCode = ErrorCode.MALFORMED_REQUEST,
    strict: bool = True,
) -> Document:
    """Decode a JSON document.

    Args:
        body: UTF-8 text.
        body_type: Type of the document, usually a `msgspec.Struct`.
        code: Error code for a document of another type.
        strict: False also accepts numbers and booleans in strings.

    Raises:
        FerError: `malformed_request` if the body is not JSON; `invalid_parameter` for an unknown key, if the type
            forbids unknown keys; else `code`.
    """
    try:
        return msgspec.json.decode(body, type=body_type, strict=strict)
    except msgspec.ValidationError as error:
        reason = str(error)[:_MAX_REASON_CHARACTERS]
        if "unknown field" in reason:
            known = ", ".join(getattr(body_type, "__struct_fields__", ()))
            raise FerError(ErrorCode.INVALID_PARAMETER, f"{reason}; the body may have the keys {known}") from None
        raise FerError(code, reason) from None
    except (ValueError, RecursionError):  # ValueError includes msgspec.DecodeError and UnicodeDecodeError
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body is not valid JSON") from None


def option_values(document: msgspec.Struct, names: Collection[str]) -> dict[str, Any]:
    """Return the options that a document has, by name, as Python values.

    Raises:
        FerError: `invalid_parameter`: a value is too long for an option; `malformed_request`: it is not valid UTF-8.
    """
    raw: dict[str, Raw] = {name: value for name in names if (value := getattr(document, name))}
    for name, value in raw.items():
        if len(bytes(value)) > _MAX_OPTION_BYTES:
            raise FerError(
                ErrorCode.INVALID_PARAMETER,
                f"{name}: expected at most {_MAX_OPTION_BYTES} bytes. Received: {len(bytes(value))}",
            )
    try:
        return {name: msgspec.json.decode(value) for name, value in raw.items()}
    except (ValueError, RecursionError):
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body is not valid JSON") from None
