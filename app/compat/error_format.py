"""What every dialect needs: errors in its own shape, their documentation, and faces' certainty on a scale of 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

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
class Dialect:
    """How another service says that a request failed.

    Attributes:
        body: The JSON document of an error.
        status: The HTTP statuses of this dialect where they are not this service's.
        media_type: Of the document.
    """

    body: Callable[[FerError], dict[str, Any]]
    status: Callable[[ErrorCode], int] = STATUS.__getitem__
    media_type: str = "application/json"

    def response(self, error: FerError) -> Response:
        """The answer to a request that failed."""
        return JSONResponse(
            self.body(error),
            status_code=self.status(error.code),
            headers=error_headers(error.code),
            media_type=self.media_type,
        )

    def documented(self, *codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
        """The `responses` of a route that can fail with these codes: one entry a status, one example a code."""
        any_refusal = {"example": self.body(example_error(ErrorCode.MALFORMED_REQUEST))}
        # FastAPI would document its own 422 beside these; this keeps it away.
        responses: dict[int | str, dict[str, Any]] = {
            "4XX": {"description": "Every refusal has this shape", "content": {self.media_type: any_refusal}}
        }
        for code in codes:
            response = responses.setdefault(
                self.status(code), {"description": "", "content": {self.media_type: {"examples": {}}}}
            )
            examples = response["content"][self.media_type]["examples"]
            examples[code.value] = {"value": self.body(example_error(code))}
            response["description"] = ", ".join(examples)
        return responses


def errors_in(
    dialect_of: Callable[[Request], Dialect | None], route_class: type[APIRoute] = APIRoute
) -> type[APIRoute]:
    """A route class whose errors are answered in a dialect; guards, limits and parameters included.

    Args:
        dialect_of: The dialect of a request; None leaves its errors to the service's own answers.
        route_class: What else the routes are.
    """

    class DialectRoute(route_class):  # type: ignore[misc, valid-type]
        """A route that answers in a dialect."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """The route's handler within the dialect's."""
            answer: Callable[[Request], Coroutine[Any, Any, Response]] = super().get_route_handler()

            async def answer_in_dialect(request: Request) -> Response:
                dialect = dialect_of(request)
                if dialect is None:
                    return await answer(request)
                try:
                    return await answer(request)
                except (ClientDisconnect, HTTPException):
                    raise
                except FerError as error:  # under no other name: it would be freed by Python's collector only
                    return _refuse(request, dialect, error)
                except RequestValidationError as error:
                    return _refuse(request, dialect, invalid_parameter(error))
                except Exception as error:
                    return _refuse(request, dialect, internal_error(error, request.state.request_id))

            return answer_in_dialect

    return DialectRoute


def _refuse(request: Request, dialect: Dialect, error: FerError) -> Response:
    service_of(request).metrics.rejections(error.code).inc()
    return dialect.response(error)


def certainty(detection_confidence: float) -> float:
    """A detection's weight on the scale that the dialects know: above 0 and below 1, in the same order.

    It is no probability, as the cascade gives none: a weight of 1 becomes 0.5, of 9 becomes 0.9, of 99 becomes 0.99.

    Args:
        detection_confidence: The cascade's weight.
    """
    weight = max(detection_confidence, 0.01)  # a face that was found is never "no face", which is 0
    return weight / (weight + 1)
