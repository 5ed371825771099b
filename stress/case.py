"""A bad request and the result that it must have."""

from __future__ import annotations

from dataclasses import dataclass

OK = "200"
CLOSED = "closed"


@dataclass(frozen=True)
class Case:
    """A bad request.

    Attributes:
        name: Description in messages.
        request: Bytes of the whole request.
        results: Accepted results: an error code; a status if the response has no error code; `closed` if the service
            closes the connection without a response.
    """

    name: str
    request: bytes
    results: tuple[str, ...]
