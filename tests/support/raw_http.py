"""HTTP over plain sockets, for what client libraries do not send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

WEBSOCKET_HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@contextmanager
def connected(url: str, timeout: float = 30) -> Iterator[socket.socket]:
    """Open a connection to the server of a URL; close it at the exit."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as connection:
        yield connection


def head(
    method: str = "POST", path: str = "/predict", *headers: str, size: int | None = None, version: str = "1.1"
) -> bytes:
    """Return the head of a request.

    Args:
        method: HTTP method.
        path: Target.
        headers: Further lines.
        size: Value of Content-Length; None for none.
        version: HTTP version.
    """
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers]
    if size is not None:
        lines.append(f"Content-Length: {size}")
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes, size: int = 65_536) -> bytes:
    """Return a body in the chunked coding."""
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def receive_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers (names in lower case) and the body of the next response that is not interim."""
    stream = connection.makefile("rb", buffering=0)  # a buffer would take bytes of the next response
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        headers[name.decode().lower()] = value.strip().decode()
    if status < 200 and status != 101:
        return receive_response(connection)
    body, size = b"", int(headers.get("content-length", 0))
    while len(body) < size and (part := stream.read(size - len(body))):
        body += part
    return status, headers, body


def receive_all(connection: socket.socket) -> bytes:
    """Return the bytes that arrive until the server closes the connection."""
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data
