"""Azure Face v1.0: `POST /face/v1.0/detect` as it was before Microsoft withdrew the emotion attribute (2022 to 2023).

Reference: azure-cognitiveservices-vision-face 0.6.1 and Microsoft's "Azure AI Face API error codes". docs/migrating.md
lists the differences.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.documentation import FILE, IMAGE_ERRORS, REQUEST_ERRORS
from app.api.parsing.body import media_type, read_body
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import CompatibleRoute, ErrorFormat
from app.contract.labels import Emotion
from app.domain import FaceEmotion, PredictOptions
from app.errors import ErrorCode, FerError

EMOTION_NAMES: dict[Emotion, str] = {
    Emotion.ANGRY: "anger",
    Emotion.DISGUST: "disgust",
    Emotion.FEAR: "fear",
    Emotion.HAPPY: "happiness",
    Emotion.NEUTRAL: "neutral",
    Emotion.SAD: "sadness",
    Emotion.SURPRISE: "surprise",
}
# Azure's schema requires a score for contempt. The model has no such class: the score is always 0.
MISSING_EMOTION = "contempt"

_SCORE_DIGITS = 6
_EMOTION = "emotion"
_FILE_TYPE = "application/octet-stream"

_NAMES: dict[ErrorCode, str] = {
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: "InvalidImage",
    ErrorCode.UNDECODABLE_IMAGE: "InvalidImage",
    ErrorCode.NO_FACE_DETECTED: "InvalidImage",
    ErrorCode.INVALID_BASE64: "InvalidImage",
    ErrorCode.EMPTY_IMAGE: "InvalidImageSize",
    ErrorCode.IMAGE_TOO_SMALL: "InvalidImageSize",
    ErrorCode.PAYLOAD_TOO_LARGE: "InvalidImageSize",
    ErrorCode.TOO_MANY_PIXELS: "InvalidImageSize",
    ErrorCode.UNAUTHORIZED: "401",  # the code that Microsoft documents
    ErrorCode.OVERLOADED: "RateLimitExceeded",
    ErrorCode.DEADLINE_EXCEEDED: "OperationTimeOut",
    ErrorCode.INTERNAL: "InternalServerError",
    ErrorCode.NOT_READY: "ServiceUnavailable",
    ErrorCode.DRAINING: "ServiceUnavailable",
}
_STATUSES: dict[ErrorCode, int] = {
    ErrorCode.PAYLOAD_TOO_LARGE: 400,
    ErrorCode.TOO_MANY_PIXELS: 400,
    ErrorCode.TOO_MANY_IMAGES: 400,
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: 400,
    ErrorCode.INVALID_PARAMETER: 400,
    ErrorCode.UNDECODABLE_IMAGE: 400,
    ErrorCode.IMAGE_TOO_SMALL: 400,
    ErrorCode.NO_FACE_DETECTED: 400,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.DEADLINE_EXCEEDED: 408,
}


def _status(code: ErrorCode) -> int:
    return _STATUSES.get(code, STATUS[code])


def _error_body(error: FerError) -> dict[str, Any]:
    return {"error": {"code": _NAMES.get(error.code, "BadArgument"), "message": error.detail}}


class _AzureRoute(CompatibleRoute):
    error_format = ErrorFormat(_error_body, _status)


router = APIRouter(tags=["compatible"], dependencies=[ADMIT], route_class=_AzureRoute)

_EXAMPLE: list[dict[str, Any]] = [
    {
        "faceId": "c5c24a82-6845-4031-9d5d-978df9175426",
        "faceRectangle": {"top": 66, "left": 176, "width": 96, "height": 96},
        "faceAttributes": {
            "emotion": {
                "anger": 0.007247,
                "contempt": 0.0,
                "disgust": 0.010171,
                "fear": 0.008691,
                "happiness": 0.933316,
                "neutral": 0.019658,
                "sadness": 0.008856,
                "surprise": 0.012061,
            }
        },
    }
]
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {_FILE_TYPE: {"schema": FILE}}}}


@router.post(
    "/face/v1.0/detect",
    summary="Azure Face v1.0: detect",
    response_class=Response,
    responses={
        200: {"description": "The faces, largest first", "content": {"application/json": {"example": _EXAMPLE}}},
        **_AzureRoute.error_format.openapi_responses(*REQUEST_ERRORS, *IMAGE_ERRORS),
    },
    openapi_extra=_BODY,
)
async def detect(
    request: Request,
    with_face_id: Annotated[bool, Query(alias="returnFaceId", description="add a random `faceId` to each face")] = True,
    with_landmarks: Annotated[bool, Query(alias="returnFaceLandmarks", description="`false` only")] = False,
    attributes: Annotated[str, Query(alias="returnFaceAttributes", description="`emotion` or empty")] = "",
    with_recognition_model: Annotated[bool, Query(alias="returnRecognitionModel", description="`false` only")] = False,
) -> Response:
    """Use this service as the endpoint of an Azure SDK. The request body is the image; the service reads no URLs."""
    requested = {name for name in attributes.split(",") if name}
    if requested - {_EMOTION}:
        raise FerError(
            ErrorCode.INVALID_PARAMETER,
            f"returnFaceAttributes: expected {_EMOTION} or no value. Received: {attributes[:80]}",
        )
    if with_landmarks or with_recognition_model:
        raise FerError(
            ErrorCode.INVALID_PARAMETER,
            "expected returnFaceLandmarks and returnRecognitionModel to be false. Received: true",
        )
    kind = media_type(request)
    if kind != _FILE_TYPE:
        raise FerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected the image as {_FILE_TYPE}: this service reads no URLs. Received: {kind[:100] or 'no type'}",
        )
    engine = service_of(request).engine
    result = await engine.predict(
        await read_body(request), PredictOptions(), request.state.deadline, bulk=request.state.bulk
    )
    return JSONResponse([_face(face, with_face_id, with_emotion=bool(requested)) for face in result.faces])


def _face(face: FaceEmotion, with_face_id: bool, with_emotion: bool) -> dict[str, Any]:
    """Return one face as Azure describes it. The face id is random: the service stores no faces."""
    box = face.box
    detected: dict[str, Any] = {"faceId": str(uuid.uuid4())} if with_face_id else {}
    detected["faceRectangle"] = {"top": box.y, "left": box.x, "width": box.width, "height": box.height}
    if with_emotion:
        scores = {name: round(face.scores[label], _SCORE_DIGITS) for label, name in EMOTION_NAMES.items()}
        detected["faceAttributes"] = {"emotion": dict(sorted((scores | {MISSING_EMOTION: 0.0}).items()))}
    return detected
