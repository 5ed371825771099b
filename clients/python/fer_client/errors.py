"""Exceptions of the client."""

from __future__ import annotations


class FerClientError(Exception):
    """Base class of the client's exceptions."""


class ConnectionFailedError(FerClientError):
    """No response arrived: the connection failed, broke, or timed out, in every attempt."""


class ApiError(FerClientError):
    """The service answered with an error.

    Args:
        status: HTTP status.
        code: Stable error code of the service, such as `no_face_detected` or `overloaded`; `unknown` if the response is
            not from fer-serve, for example from a proxy.
        detail: Description of the error.
        request_id: Identifier of the request in the service's log; empty if the response has none.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str) -> None:
        super().__init__(f"{status} {code}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
