"""A minimal HTTP client that sends prepared bytes over kept-alive connections, so that it uses little CPU time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Response:
    """An HTTP response.

    Attributes:
        status: Status code.
        headers: Header values by lower-case name.
        body: Body bytes.
        keep_alive: Whether the connection can carry another request.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Connection(asyncio.Protocol):
    """One HTTP connection that carries one request at a time. Create it with `Connection.open`."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._response: asyncio.Future[Response] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a server on this machine.

        Raises:
            OSError: The server does not accept the connection.
        """
        _, connection = await asyncio.get_running_loop().create_connection(cls, HOST, port)
        return connection

    async def send(self, request: bytes) -> Response:
        """Send a request and return its response.

        Args:
            request: Head and body of the request.

        Raises:
            OSError: The connection is lost before the response is complete.
        """
        self.write(request)
        self._response = asyncio.get_running_loop().create_future()
        return await self._response

    def write(self, request: bytes) -> None:
        """Send a request without waiting for a response.

        Raises:
            ConnectionResetError: The server has closed the connection.
        """
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._transport.write(request)

    @property
    def is_open(self) -> bool:
        """Whether the connection can carry a request."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)  # the transport of uvloop is not a subclass

    def data_received(self, data: bytes) -> None:
        """Parse bytes of a response (asyncio.Protocol)."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits for its response (asyncio.Protocol)."""
        self._transport = None
        if self._response is not None and not self._response.done():
            error = ConnectionResetError("the server closed the connection")
            error.__cause__ = exc
            self._response.set_exception(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header (httptools)."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Store a piece of the body (httptools)."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Complete the response (httptools)."""
        response = Response(
            self._parser.get_status_code(), self._headers, b"".join(self._body), self._parser.should_keep_alive()
        )
        self._headers, self._body = {}, []
        self._parser = httptools.HttpResponseParser(self)
        if self._response is not None and not self._response.done():
            self._response.set_result(response)


class Client:
    """Client with one connection. It connects again after a connection was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body. The status is 0 if the connection was lost."""
        try:
            if self._connection is None:
                self._connection = await Connection.open(self._port)
            response = await self._connection.send(request)
        except OSError:
            self._connection = None
            return 0, b""
        return response.status, response.body

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
