"""Amazon Rekognition's DetectFaces: its answer for `/predict?format=rekognition`, and its own wire form at `POST /`.

Reference: the service model `rekognition/2016-06-27` that botocore ships; docs/migrating.md has the mapping.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.auth import authorise
from app.api.documentation import IMAGE_ERRORS, REQUEST_ERRORS
from app.api.parsing.body import read_body
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import Dialect, certainty, errors_in
from app.compat.json_body import from_base64, json_object
from app.contract.labels import Emotion
from app.domain import FaceEmotion, ImageResult, PredictOptions
from app.errors import ErrorCode, FerError

MEDIA_TYPE = "application/x-amz-json-1.1"
TARGET_HEADER = "X-Amz-Target"
DETECT_FACES = "RekognitionService.DetectFaces"

EMOTION_TYPES: dict[Emotion, str] = {
    Emotion.ANGRY: "ANGRY",
    Emotion.DISGUST: "DISGUSTED",
    Emotion.FEAR: "FEAR",
    Emotion.HAPPY: "HAPPY",
    Emotion.SAD: "SAD",
    Emotion.SURPRISE: "SURPRISED",
    Emotion.NEUTRAL: "CALM",
}
# The model has no such class. Rekognition always lists it, and programs look it up, so it is there and always 0.
WITHOUT_COUNTERPART = "CONFUSED"

_RATIO_DIGITS = 6
_PERCENT_DIGITS = 4
_BAD_REQUEST, _INTERNAL, _UNAVAILABLE = 400, 500, 503
_EMOTION_ATTRIBUTES = frozenset({"ALL", "EMOTIONS"})

_NAMES: dict[ErrorCode, str] = {
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: "InvalidImageFormatException",
    ErrorCode.UNDECODABLE_IMAGE: "InvalidImageFormatException",
    ErrorCode.EMPTY_IMAGE: "InvalidImageFormatException",
    ErrorCode.PAYLOAD_TOO_LARGE: "ImageTooLargeException",
    ErrorCode.TOO_MANY_PIXELS: "ImageTooLargeException",
    ErrorCode.UNAUTHORIZED: "AccessDeniedException",
    ErrorCode.NOT_FOUND: "UnknownOperationException",
    ErrorCode.OVERLOADED: "ThrottlingException",
    ErrorCode.INTERNAL: "InternalServerError",
    ErrorCode.NOT_READY: "ServiceUnavailable",
    ErrorCode.DRAINING: "ServiceUnavailable",
    ErrorCode.DEADLINE_EXCEEDED: "ServiceUnavailable",
}


def _status(code: ErrorCode) -> int:
    """400 for all that is the caller's, as AWS's JSON protocol has it; its clients retry the others."""
    own = STATUS[code]
    if code is ErrorCode.OVERLOADED or own < _INTERNAL:
        return _BAD_REQUEST
    return own if own == _INTERNAL else _UNAVAILABLE


def _error_body(error: FerError) -> dict[str, str]:
    return {"__type": _NAMES.get(error.code, "InvalidParameterException"), "message": error.detail}


DIALECT = Dialect(_error_body, _status, MEDIA_TYPE)

router = APIRouter(
    tags=["compatible"],
    dependencies=[Depends(authorise), ADMIT],
    route_class=errors_in(lambda request: DIALECT),
)

EXAMPLE: dict[str, Any] = {
    "FaceDetails": [
        {
            "BoundingBox": {"Width": 0.1875, "Height": 0.1875, "Left": 0.34375, "Top": 0.128906},
            "Confidence": 98.2576,
            "Emotions": [
                {"Type": "HAPPY", "Confidence": 93.3316},
                {"Type": "CALM", "Confidence": 1.9658},
                {"Type": "SURPRISED", "Confidence": 1.2061},
                {"Type": "DISGUSTED", "Confidence": 1.0171},
                {"Type": "SAD", "Confidence": 0.8856},
                {"Type": "FEAR", "Confidence": 0.8691},
                {"Type": "ANGRY", "Confidence": 0.7247},
                {"Type": "CONFUSED", "Confidence": 0.0},
            ],
        }
    ]
}
_BODY: dict[str, Any] = {
    "parameters": [
        {"name": TARGET_HEADER, "in": "header", "required": True, "schema": {"type": "string", "enum": [DETECT_FACES]}}
    ],
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "Image": {"type": "object", "properties": {"Bytes": {"type": "string", "format": "byte"}}},
                        "Attributes": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["Image"],
                },
                "example": {"Image": {"Bytes": "/9j/4AAQ"}, "Attributes": ["EMOTIONS"]},
            }
        },
    },
}


@router.post(
    "/",
    summary="Rekognition: DetectFaces, as the AWS SDKs call it",
    response_class=Response,
    responses={
        200: {"description": "The faces", "content": {MEDIA_TYPE: {"example": EXAMPLE}}},
        **DIALECT.documented(*REQUEST_ERRORS, *IMAGE_ERRORS, ErrorCode.NOT_FOUND),
    },
    openapi_extra=_BODY,
)
async def detect_faces(request: Request) -> Response:
    """Point an AWS SDK's `endpoint_url` here. `Image.Bytes` only: nothing is read from S3."""
    target = request.headers.get(TARGET_HEADER, "")
    if target != DETECT_FACES:
        raise FerError(ErrorCode.NOT_FOUND, f"expected {TARGET_HEADER}: {DETECT_FACES}. Received: {target[:100]}")
    pipeline = service_of(request).engine
    document = json_object(await read_body(request))
    result = await pipeline.predict(_image(document), PredictOptions(), request.state.deadline)
    return response(result, with_emotions=_wants_emotions(document))


def response(result: ImageResult, with_emotions: bool = True) -> Response:
    """The answer of DetectFaces.

    Args:
        result: The domain's.
        with_emotions: False leaves them out, as Rekognition does where `Attributes` does not name them.
    """
    details = [_face_detail(face, result, with_emotions) for face in result.faces]
    return JSONResponse({"FaceDetails": details}, media_type=MEDIA_TYPE)


def _face_detail(face: FaceEmotion, result: ImageResult, with_emotions: bool) -> dict[str, Any]:
    box = face.box
    detail: dict[str, Any] = {
        "BoundingBox": {
            "Width": round(box.width / result.width_px, _RATIO_DIGITS),
            "Height": round(box.height / result.height_px, _RATIO_DIGITS),
            "Left": round(box.x / result.width_px, _RATIO_DIGITS),
            "Top": round(box.y / result.height_px, _RATIO_DIGITS),
        }
    }
    if face.detection_confidence is not None:
        detail["Confidence"] = round(100 * certainty(face.detection_confidence), _PERCENT_DIGITS)
    if with_emotions:
        ranked = sorted(face.scores.items(), key=lambda scored: -scored[1])
        detail["Emotions"] = [
            {"Type": EMOTION_TYPES[Emotion(label)], "Confidence": round(100 * score, _PERCENT_DIGITS)}
            for label, score in ranked
        ] + [{"Type": WITHOUT_COUNTERPART, "Confidence": 0.0}]
    return detail


def _image(document: dict[str, Any]) -> bytes:
    image = document.get("Image")
    if not (isinstance(image, dict) and "Bytes" in image):
        raise FerError(ErrorCode.INVALID_PARAMETER, "expected Image.Bytes: this service reads no S3 objects")
    return from_base64(image["Bytes"], "Image.Bytes")


def _wants_emotions(document: dict[str, Any]) -> bool:
    attributes = document.get("Attributes", ["DEFAULT"])
    if not isinstance(attributes, list) or not all(isinstance(name, str) for name in attributes):
        raise FerError(ErrorCode.INVALID_PARAMETER, "Attributes must be a list of strings")
    return not _EMOTION_ATTRIBUTES.isdisjoint(attributes)
