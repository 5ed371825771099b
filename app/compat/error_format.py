"""Errors in the format of a compatible API: responses, OpenAPI documentation and the route class that applies them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from app.api.documentation import example_error
from app.api.problems import STATUS, error_headers, internal_error, invalid_parameter
from app.api.service import service_of
from app.errors import ErrorCode, FerError


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """How a compatible API reports that a request failed.

    Attributes:
        body: Returns the JSON document of an error.
        status: Returns the HTTP status of an error code; by default the status of the native API.
        media_type: Media type of the document.
    """

    body: Callable[[FerError], dict[str, Any]]
    status: Callable[[ErrorCode], int] = STATUS.__getitem__
    media_type: str = "application/json"

    def response(self, error: FerError) -> Response:
        """Return the response to a request that failed."""
        return JSONResponse(
            self.body(error),
            status_code=self.status(error.code),
            headers=error_headers(error.code),
            media_type=self.media_type,
        )

    def openapi_responses(self, *codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
        """Return `responses` of a route that can fail with these codes: one entry per status, one example per code."""
        example = {"example": self.body(example_error(ErrorCode.MALFORMED_REQUEST))}
        # FastAPI documents its own 422 unless the route documents 4XX.
        responses: dict[int | str, dict[str, Any]] = {
            "4XX": {"description": "All client errors have this format", "content": {self.media_type: example}}
        }
        for code in codes:
            response = responses.setdefault(
                self.status(code), {"description": "", "content": {self.media_type: {"examples": {}}}}
            )
            examples = response["content"][self.media_type]["examples"]
            examples[code.value] = {"value": self.body(example_error(code))}
            response["description"] = ", ".join(examples)
        return responses


class CompatibleRoute(APIRoute):
    """A route that answers every error in the format of its API, including errors of dependencies and parameters.

    Subclasses set `error_format`.
    """

    error_format: ClassVar[ErrorFormat]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with error handling around it."""
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except (ClientDisconnect, HTTPException):
                raise
            # A second name for an error keeps its traceback alive until the garbage collector runs.
            except FerError as error:
                return self._error_response(request, error)
            except RequestValidationError as error:
                return self._error_response(request, invalid_parameter(error))
            except Exception as error:
                return self._error_response(request, internal_error(error, request.state.request_id))

        return handle_errors

    def _error_response(self, request: Request, error: FerError) -> Response:
        service_of(request).metrics.rejections(error.code).inc()
        return self.error_format.response(error)
