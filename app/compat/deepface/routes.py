"""The route `POST /analyze`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.documentation import BASE64, FILE, IMAGE_ERRORS, REQUEST_ERRORS, example_response, open_form
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.deepface.parsing import read_request
from app.compat.deepface.schemas import EXAMPLE, Analyses
from app.compat.error_format import CompatibleRoute, ErrorFormat
from app.errors import ErrorCode, FerError

_BAD_REQUEST = 400


def _status(code: ErrorCode) -> int:
    """Return 400 for images and options that DeepFace cannot analyse, else the status of the native API."""
    status = STATUS[code]
    return _BAD_REQUEST if status in {413, 415, 422} and code is not ErrorCode.PAYLOAD_TOO_LARGE else status


def _error_body(error: FerError) -> dict[str, str]:
    if error.code in {ErrorCode.MALFORMED_REQUEST, ErrorCode.INVALID_BASE64}:
        return {"exception": error.detail}  # DeepFace's key for a request without a readable image
    return {"error": f"Exception while analyzing: {error.detail}"}


class _DeepFaceRoute(CompatibleRoute):
    error_format = ErrorFormat(_error_body, _status)


router = APIRouter(tags=["compatible"], dependencies=[ADMIT], route_class=_DeepFaceRoute)

_OPTIONS = {
    "actions": {"type": "array", "items": {"type": "string", "enum": ["emotion"]}},
    "detector_backend": {"type": "string", "default": "opencv"},
    "enforce_detection": {"type": "boolean", "default": True},
    "max_faces": {"type": "integer"},
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"img": BASE64, **_OPTIONS}, "required": ["img"]},
                "example": {"img": "data:image/jpeg;base64,/9j/4AAQ", "actions": ["emotion"]},
            },
            "multipart/form-data": {"schema": open_form("img", FILE)},
        },
    }
}


@router.post(
    "/analyze",
    summary="DeepFace: detect the faces of one image and return their emotions in percent",
    responses=example_response(EXAMPLE) | _DeepFaceRoute.error_format.openapi_responses(*REQUEST_ERRORS, *IMAGE_ERRORS),
    openapi_extra=_BODY,
)
async def analyze(request: Request) -> Analyses:
    """Send `img` as a data URL in JSON or as a multipart file. The service reads no URLs and no paths."""
    engine = service_of(request).engine
    image, arguments = await read_request(request)
    options = arguments.predict_options()
    result = await engine.predict(image, options, request.state.deadline, bulk=request.state.bulk)
    if not result.faces:
        if arguments.enforce_detection:
            raise FerError(
                ErrorCode.NO_FACE_DETECTED,
                "Face could not be detected in the image. Set enforce_detection to False to analyse the whole image",
            )
        result = await engine.predict(
            image, replace(options, detect=False), request.state.deadline, bulk=request.state.bulk
        )
    return Analyses.of(result)
