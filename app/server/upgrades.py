"""Offers of a client to change the protocol of a connection. A server may ignore them (RFC 9110, 7.8)."""

from __future__ import annotations

from collections.abc import Iterable

_CONNECTION = b"connection"
_OFFER_HEADERS = frozenset({b"upgrade", b"http2-settings"})


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request without its offer of another protocol.

    Args:
        method: Method of the request.
        url: Target of the request.
        version: HTTP version, such as "1.1".
        headers: Names in lower case, and values.
    """
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode("ascii"))]
    for name, value in headers:
        kept = _connection_options(value) if name == _CONNECTION else value
        if name not in _OFFER_HEADERS and (kept or name != _CONNECTION):
            lines.append(b"%s: %s" % (name, kept))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _connection_options(value: bytes) -> bytes:
    options = (option.strip() for option in value.split(b","))
    return b", ".join(option for option in options if option.lower() not in _OFFER_HEADERS)
