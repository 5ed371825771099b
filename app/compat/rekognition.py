"""Amazon Rekognition: the operation DetectFaces at `POST /`.

Reference: the service model `rekognition/2016-06-27` in botocore. docs/migrating.md lists the differences.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.documentation import IMAGE_ERRORS, REQUEST_ERRORS
from app.api.options import Coverage
from app.api.parsing.base64_image import from_base64
from app.api.parsing.body import read_body
from app.api.parsing.json_body import decode_json
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import CompatibleRoute, ErrorFormat
from app.contract.labels import Emotion
from app.contract.prediction_sets import prediction_set
from app.domain import UNCERTAIN, Doubt, FaceEmotion, ImageResult, PredictOptions
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
# Rekognition always lists CONFUSED. The model has no such class: its confidence is always 0.
MISSING_EMOTION = "CONFUSED"
# The first type of a face that the caller's `min_confidence` or `coverage` makes uncertain.
UNCERTAIN_EMOTION = "UNKNOWN"

# Rekognition's names of the five landmarks. Its left and right are the viewer's.
LANDMARK_TYPES = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")

_RATIO_DIGITS = 6
_PERCENT_DIGITS = 4
_BAD_REQUEST, _INTERNAL, _UNAVAILABLE = 400, 500, 503
_Attribute = Literal[
    "DEFAULT",
    "ALL",
    "AGE_RANGE",
    "BEARD",
    "EMOTIONS",
    "EYE_DIRECTION",
    "EYEGLASSES",
    "EYES_OPEN",
    "GENDER",
    "MOUTH_OPEN",
    "MUSTACHE",
    "FACE_OCCLUDED",
    "SMILE",
    "SUNGLASSES",
]
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
    """Return 400 for client errors and for throttling, as AWS's JSON protocol does. Its clients retry 500 and 503."""
    status = STATUS[code]
    if code is ErrorCode.OVERLOADED or status < _INTERNAL:
        return _BAD_REQUEST
    return status if status == _INTERNAL else _UNAVAILABLE


def _error_body(error: FerError) -> dict[str, str]:
    return {"__type": _NAMES.get(error.code, "InvalidParameterException"), "message": error.detail}


class _RekognitionRoute(CompatibleRoute):
    error_format = ErrorFormat(_error_body, _status, MEDIA_TYPE)


router = APIRouter(tags=["compatible"], dependencies=[ADMIT], route_class=_RekognitionRoute)


class _Image(msgspec.Struct, rename="pascal"):
    bytes: str | None = None


class _DetectFacesRequest(msgspec.Struct, rename="pascal"):
    image: _Image = msgspec.field(default_factory=_Image)
    attributes: list[_Attribute] = msgspec.field(default_factory=list)


_EXAMPLE: dict[str, Any] = {
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
    summary="Amazon Rekognition: DetectFaces",
    response_class=Response,
    responses={
        200: {"description": "The faces", "content": {MEDIA_TYPE: {"example": _EXAMPLE}}},
        **_RekognitionRoute.error_format.openapi_responses(*REQUEST_ERRORS, *IMAGE_ERRORS, ErrorCode.NOT_FOUND),
    },
    openapi_extra=_BODY,
)
async def detect_faces(
    request: Request,
    min_confidence: Annotated[
        float, Query(ge=0, le=1, description="faces whose top score is below this value are UNKNOWN")
    ] = 0,
    coverage: Annotated[
        Coverage, Query(description="faces whose prediction set has more than one emotion are UNKNOWN")
    ] = None,
) -> Response:
    """Use this service as the `endpoint_url` of an AWS SDK. Send `Image.Bytes`; the service reads no S3 objects.

    DetectFaces has no field for the two query parameters: write them in the `endpoint_url`.
    """
    target = request.headers.get(TARGET_HEADER, "")
    if target != DETECT_FACES:
        raise FerError(ErrorCode.NOT_FOUND, f"expected {TARGET_HEADER}: {DETECT_FACES}. Received: {target[:100]}")
    engine = service_of(request).engine
    body = decode_json(await read_body(request), _DetectFacesRequest, ErrorCode.INVALID_PARAMETER)
    if body.image.bytes is None:
        raise FerError(ErrorCode.INVALID_PARAMETER, "expected Image.Bytes: this service reads no S3 objects")
    image = from_base64(body.image.bytes, "Image.Bytes")
    options = PredictOptions(min_confidence=min_confidence, coverage=coverage)
    result = await engine.predict(image, options, request.state.deadline, bulk=request.state.bulk)
    with_emotions = not _EMOTION_ATTRIBUTES.isdisjoint(body.attributes)
    details = [_face_detail(face, result, with_emotions) for face in result.faces]
    return JSONResponse({"FaceDetails": details}, media_type=MEDIA_TYPE)


def _face_detail(face: FaceEmotion, result: ImageResult, with_emotions: bool) -> dict[str, Any]:
    """Return one face as Rekognition describes it. Rekognition omits emotions unless `Attributes` requests them."""
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
        detail["Confidence"] = round(100 * face.detection_confidence, _PERCENT_DIGITS)
    if face.landmarks is not None:
        detail["Landmarks"] = [
            {
                "Type": name,
                "X": round(point.x / result.width_px, _RATIO_DIGITS),
                "Y": round(point.y / result.height_px, _RATIO_DIGITS),
            }
            for name, point in zip(LANDMARK_TYPES, face.landmarks, strict=True)
        ]
    if with_emotions:
        detail["Emotions"] = _emotions(face, result.doubt)
    return detail


def _emotions(face: FaceEmotion, doubt: Doubt) -> list[dict[str, Any]]:
    """Return the emotions by confidence. UNKNOWN is the first entry of an uncertain face, with the top confidence."""
    named = [(EMOTION_TYPES[Emotion(label)], score) for label, score in face.scores.items()]
    ranked = sorted(named, key=lambda scored: -scored[1])
    if _is_uncertain(face, doubt):
        ranked.insert(0, (UNCERTAIN_EMOTION, face.confidence))
    ranked.append((MISSING_EMOTION, 0.0))
    return [{"Type": name, "Confidence": round(100 * score, _PERCENT_DIGITS)} for name, score in ranked]


def _is_uncertain(face: FaceEmotion, doubt: Doubt) -> bool:
    if doubt.emotion_of(face) == UNCERTAIN:
        return True
    return doubt.set_thresholds is not None and len(prediction_set(face.scores, doubt.set_thresholds)) > 1
