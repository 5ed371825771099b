"""`POST /predict?format=...`: which dialect answers a request of the service's own form."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.documentation import example_error, problem_responses
from app.api.service import service_of
from app.compat import azure, rekognition
from app.compat.error_format import Dialect
from app.domain import ImageResult
from app.errors import ErrorCode, FerError


class AnswerFormat(StrEnum):
    """Whose answer is wanted; `fer` is the service's own."""

    FER = "fer"
    REKOGNITION = "rekognition"
    AZURE = "azure"


EXAMPLES: dict[str, Any] = {
    AnswerFormat.REKOGNITION.value: {"summary": "format=rekognition", "value": rekognition.EXAMPLE},
    AnswerFormat.AZURE.value: {"summary": "format=azure", "value": azure.EXAMPLE},
}

_DIALECTS: dict[str, Dialect] = {
    AnswerFormat.REKOGNITION.value: rekognition.DIALECT,
    AnswerFormat.AZURE.value: azure.DIALECT,
}
# In media types that are not the service's own.
ANSWERS: dict[str, Any] = {
    rekognition.MEDIA_TYPE: {"example": rekognition.EXAMPLE},
}
_RENDER: dict[AnswerFormat, Callable[[ImageResult], Response]] = {
    AnswerFormat.REKOGNITION: rekognition.response,
    AnswerFormat.AZURE: azure.response,
}


def documented(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these codes in every dialect."""
    responses = problem_responses(*codes)
    for dialect in _DIALECTS.values():
        for code in codes:
            response = responses.setdefault(dialect.status(code), {"description": code.value, "content": {}})
            response["content"].setdefault(dialect.media_type, {"example": dialect.body(example_error(code))})
    return responses


def dialect_of(request: Request) -> Dialect | None:
    """The dialect that a request asks for; None for the service's own, and where dialects are switched off."""
    if not request.scope["query_string"]:
        return None
    if not service_of(request).settings.compat:
        return None
    return _DIALECTS.get(request.query_params.get("format", ""))


def check(answer_format: AnswerFormat, request: Request) -> None:
    """Refuses dialects where the operator switched them off.

    Raises:
        FerError: `invalid_parameter`.
    """
    if answer_format is not AnswerFormat.FER and not service_of(request).settings.compat:
        raise FerError(
            ErrorCode.INVALID_PARAMETER, f"format: this instance answers fer only. Received: {answer_format}"
        )


def render(result: ImageResult, answer_format: AnswerFormat) -> Response:
    """The answer in a dialect; not for `fer`."""
    return _RENDER[answer_format](result)
