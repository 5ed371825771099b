"""What can go wrong, as exceptions."""

from __future__ import annotations


class FerClientError(Exception):
    """Anything that this client raises of itself."""


class ConnectionFailedError(FerClientError):
    """No answer came: no connection, a broken one, or the timeout; retries included."""


class ApiError(FerClientError):
    """The service refused or failed, as its problem document says.

    Args:
        status: HTTP status.
        code: The service's code, public and stable (`no_face_detected`, `overloaded`, ...); `unknown` where the
            answer was not the service's own, as a proxy's.
        detail: A sentence.
        request_id: For the service's log; empty where the answer has none.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str) -> None:
        super().__init__(f"{status} {code}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
