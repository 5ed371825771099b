"""Error responses: RFC 9457 problem documents, and the one table from error code to status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response

from app.api.schemas.problem import Problem
from app.api.service import service_of
from app.errors import ErrorCode, FerError

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_HEADER = "Retry-After"
RETRY_AFTER_S = 1
# nginx's status for logs and metrics: no client receives this response.
CLIENT_CLOSED_REQUEST = 499

STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.MALFORMED_REQUEST: 400,
    ErrorCode.INVALID_BASE64: 400,
    ErrorCode.EMPTY_IMAGE: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN_ORIGIN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.RELOAD_IN_PROGRESS: 409,
    ErrorCode.MODEL_REFUSED: 409,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.TOO_MANY_PIXELS: 413,
    ErrorCode.TOO_MANY_IMAGES: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: 415,
    ErrorCode.INVALID_PARAMETER: 422,
    ErrorCode.UNDECODABLE_IMAGE: 422,
    ErrorCode.IMAGE_TOO_SMALL: 422,
    ErrorCode.NO_FACE_DETECTED: 422,
    ErrorCode.INTERNAL: 500,
    ErrorCode.NOT_READY: 503,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.DRAINING: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
}

_MAX_NAME_CHARACTERS = 50  # the names of unknown parameters have any length
_INTERNAL_DETAIL = "the service failed to answer this request; its log has the reason under this request id"

_logger = logging.getLogger(__name__)


def problem(error: FerError, request_id: str) -> Problem:
    """Return the problem document of an error."""
    return Problem(
        type=f"urn:fer-serve:problem:{error.code}",
        title=error.code.replace("_", " "),
        status=STATUS[error.code],
        detail=error.detail,
        code=error.code,
        request_id=request_id,
    )


def problem_response(error: FerError, connection: HTTPConnection, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to a request or a WebSocket handshake that failed, and count the rejection."""
    service_of(connection).metrics.rejections(error.code).inc()
    body = problem(error, connection.state.request_id).model_dump_json()
    return Response(
        body,
        status_code=STATUS[error.code],
        headers={**(headers or {}), **error_headers(error.code)},
        media_type=PROBLEM_JSON,
    )


def error_headers(code: ErrorCode) -> dict[str, str]:
    """Return the headers of an error response, whatever the format of its body."""
    if STATUS[code] == HTTPStatus.SERVICE_UNAVAILABLE:
        return {RETRY_AFTER_HEADER: str(RETRY_AFTER_S)}
    if STATUS[code] == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}


def internal_error(error: Exception, request_id: str) -> FerError:
    """Log an unexpected exception, and return the error that the caller may see."""
    _logger.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
    return FerError(ErrorCode.INTERNAL, _INTERNAL_DETAIL)


def invalid_parameter(error: RequestValidationError | WebSocketRequestValidationError | ValidationError) -> FerError:
    """Convert the validation errors of FastAPI or Pydantic to one error."""
    return FerError(ErrorCode.INVALID_PARAMETER, "; ".join(map(_describe, error.errors())))


def install_problem_handlers(app: FastAPI) -> None:
    """Make every failure of a route a problem document.

    The handlers are `async` although they do not wait: Starlette runs other functions in a thread.
    """
    app.add_exception_handler(FerError, _on_fer_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(WebSocketRequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_fer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FerError)  # noqa: S101  (registered for this class)
    return problem_response(error, request)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)  # noqa: S101
    return problem_response(invalid_parameter(error), request)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    codes = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
    code = codes.get(error.status_code, ErrorCode.MALFORMED_REQUEST)
    details = {
        ErrorCode.NOT_FOUND: f"no endpoint has the path {request.url.path[:200]}; /docs lists the endpoints",
        ErrorCode.METHOD_NOT_ALLOWED: f"this endpoint does not accept {request.method}",
    }
    headers = error.headers
    if headers is not None and headers.get("Allow") == "GET":
        headers = {**headers, "Allow": "GET, HEAD"}
    return problem_response(FerError(code, details.get(code, str(error.detail))), request, headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _describe(item: Mapping[str, Any]) -> str:
    name, received = str(item["loc"][-1])[:_MAX_NAME_CHARACTERS], str(item.get("input"))[:80]
    if item["type"] == "extra_forbidden":
        return f"{name} is not a parameter of this endpoint; /docs lists the parameters"
    message = item["msg"].removeprefix("Value error, ")  # Pydantic's prefix for the checks of this project
    return f"{name}: {message}. Received: {received}"
