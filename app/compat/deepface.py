"""`POST /analyze` as DeepFace's REST API answers it, for emotions.

Reference: serengil/deepface, `deepface/api/src/modules/core/routes.py` and `deepface/modules/demography.py` (0.0.9x).
What differs is in docs/migrating.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import Request

from app.api.auth import authorise
from app.api.documentation import BASE64, FILE, IMAGE_ERRORS, REQUEST_ERRORS, example_response
from app.api.parsing.body import URL_ENCODED, media_type, read_body
from app.api.parsing.form import Part, read_form
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import Dialect, certainty, errors_in
from app.compat.json_body import from_base64, json_object
from app.domain import FaceEmotion, ImageResult, PredictOptions
from app.errors import ErrorCode, FerError

IMAGE_FIELDS = ("img", "img_path")  # the second: up to DeepFace 0.0.92
# DeepFace's names of its detectors. All are accepted, so that scripts run unchanged; the cascade serves them all.
DETECTORS = frozenset({"opencv", "ssd", "dlib", "mtcnn", "fastmtcnn", "retinaface", "mediapipe", "yunet", "centerface"})
DETECTORS |= {"yolov8"} | {f"yolov{version}{size}" for version in (8, 11, 12) for size in "nsml"}
NO_DETECTOR = "skip"

# A form has a few fields, and its base64 an escape for every 34 bytes of it (`+` and `/`, two of 64 characters).
_MAX_FIELDS, _MAX_ESCAPES, _BYTES_PER_ESCAPE = 1000, 1000, 16
_SCORE_DIGITS = 4  # of a percentage
_BAD_REQUEST = 400
_DATA_URL = "data:image/"
_PUNCTUATION = str.maketrans("", "", "[]()\"' ")  # DeepFace reads actions out of a form by dropping these


def _status(code: ErrorCode) -> int:
    """DeepFace answers 400 to whatever it cannot analyse; limits and faults of the service keep their own."""
    own = STATUS[code]
    return _BAD_REQUEST if own in {413, 415, 422} and code is not ErrorCode.PAYLOAD_TOO_LARGE else own


def _error_body(error: FerError) -> dict[str, str]:
    if error.code in {ErrorCode.MALFORMED_REQUEST, ErrorCode.INVALID_BASE64}:
        return {"exception": error.detail}  # where DeepFace could not get at an image
    return {"error": f"Exception while analyzing: {error.detail}"}


DIALECT = Dialect(_error_body, _status)

router = APIRouter(
    tags=["compatible"],
    dependencies=[Depends(authorise), ADMIT],
    route_class=errors_in(lambda request: DIALECT),
)


class Region(BaseModel):
    """Where a face is, in pixels of the upright image. No eyes are searched, so they are always null."""

    x: int
    y: int
    w: int
    h: int
    left_eye: None = None
    right_eye: None = None


class Analysis(BaseModel):
    """One face, as DeepFace describes it."""

    emotion: dict[str, float] = Field(description="percent, in DeepFace's order; they sum to 100")
    dominant_emotion: str
    region: Region
    face_confidence: float = Field(description="0 to 1, no probability; 0 where no face was found or searched")


_EXAMPLE: dict[str, Any] = {
    "results": [
        {
            "emotion": {
                "angry": 0.7247,
                "disgust": 1.0171,
                "fear": 0.8691,
                "happy": 93.3316,
                "sad": 0.8856,
                "surprise": 1.2061,
                "neutral": 1.9658,
            },
            "dominant_emotion": "happy",
            "region": {"x": 176, "y": 66, "w": 96, "h": 96, "left_eye": None, "right_eye": None},
            "face_confidence": 0.98,
        }
    ]
}


class Analyses(BaseModel):
    """The answer of `POST /analyze`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    results: list[Analysis]


def _split_actions(value: Any) -> Any:
    return value.translate(_PUNCTUATION).split(",") if isinstance(value, str) else value


class Arguments(BaseModel):
    """What DeepFace's clients send beside the image; names it does not know are ignored, as DeepFace does."""

    actions: Annotated[list[str], BeforeValidator(_split_actions)] = Field(default=["emotion"])
    detector_backend: str = "opencv"
    enforce_detection: bool = True
    anti_spoofing: bool = False
    expand_percentage: int = 0
    max_faces: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("actions")
    @classmethod
    def _only_emotion(cls, actions: list[str]) -> list[str]:
        if set(actions) != {"emotion"}:
            raise ValueError(f"this service analyses emotion only. Received: {', '.join(actions)[:80]}")
        return actions

    @field_validator("detector_backend")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DETECTORS | {NO_DETECTOR}:
            raise ValueError(f"invalid detector_backend passed - {name[:80]}")
        return name

    @field_validator("anti_spoofing", "expand_percentage")
    @classmethod
    def _off(cls, value: int) -> int:
        if value:
            raise ValueError("this service has no such step")
        return value

    @property
    def options(self) -> PredictOptions:
        """The same in the service's own words."""
        options = PredictOptions(detect=self.detector_backend != NO_DETECTOR)
        return options if self.max_faces is None else replace(options, max_faces=self.max_faces)


_TEXTS = {
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
                "schema": {"type": "object", "properties": {"img": BASE64, **_TEXTS}, "required": ["img"]},
                "example": {"img": "data:image/jpeg;base64,/9j/4AAQ", "actions": ["emotion"]},
            },
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"img": FILE, **_TEXTS}, "required": ["img"]}
            },
        },
    }
}


@router.post(
    "/analyze",
    summary="DeepFace: one image in, its faces with emotions in percent out",
    responses=example_response(_EXAMPLE) | DIALECT.documented(*REQUEST_ERRORS, *IMAGE_ERRORS),
    openapi_extra=_BODY,
)
async def analyze(request: Request) -> Analyses:
    """Send `img` as a data URL in JSON or as a multipart file, as to DeepFace; no URLs and no paths of the server."""
    pipeline = service_of(request).engine
    image, arguments = await _read(request)
    result = await pipeline.predict(image, arguments.options, request.state.deadline)
    if not result.faces:
        if arguments.enforce_detection:
            raise FerError(
                ErrorCode.NO_FACE_DETECTED,
                "Face could not be detected in the image. Set enforce_detection to False to analyse all of it",
            )
        whole = replace(arguments.options, detect=False)
        result = await pipeline.predict(image, whole, request.state.deadline)
    return analyses(result)


def analyses(result: ImageResult) -> Analyses:
    """The domain's result in DeepFace's words."""
    return Analyses(results=[_analysis(face) for face in result.faces])


def _analysis(face: FaceEmotion) -> Analysis:
    box, weight = face.box, face.detection_confidence
    return Analysis(
        emotion={label: round(100 * score, _SCORE_DIGITS) for label, score in face.scores.items()},
        dominant_emotion=face.emotion,
        region=Region(x=box.x, y=box.y, w=box.width, h=box.height),
        face_confidence=0.0 if weight is None else round(certainty(weight), 2),
    )


async def _read(request: Request) -> tuple[bytes, Arguments]:
    kind = media_type(request)
    fields: Mapping[str, Any]
    if kind == "multipart/form-data":
        fields = {part.name: part if part.is_file else part.text for part in await read_form(request, max_files=1)}
        image = _image(fields)
        data = image.data if isinstance(image, Part) else _from_data_url(image)
    else:
        body = await read_body(request)
        # DeepFace's clients send a form or JSON; whatever else they call JSON is read as such.
        fields = _form_fields(body) if kind == URL_ENCODED else json_object(body)
        data = _from_data_url(_image(fields))
    return data, _arguments(fields)


def _form_fields(body: bytes) -> dict[str, str]:
    """The fields of a URL-encoded form; one of endless fields or escapes would hold up the event loop for seconds."""
    escapes, most = body.count(b"%"), _MAX_ESCAPES + len(body) // _BYTES_PER_ESCAPE
    try:
        if escapes > most:
            raise ValueError(f"at most {most} escapes (%) are accepted in a form of this size. Received: {escapes}")
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"the form cannot be read: {error}") from None


def _image(fields: Mapping[str, Any]) -> Any:
    for name in IMAGE_FIELDS:
        if fields.get(name):
            return fields[name]
    raise FerError(ErrorCode.MALFORMED_REQUEST, "'img' not found in request in either json or form data")


def _from_data_url(value: Any) -> bytes:
    if not (isinstance(value, str) and value.startswith(_DATA_URL)):
        raise FerError(
            ErrorCode.MALFORMED_REQUEST,
            "img must be a data URL (data:image/...;base64,...) or an uploaded file: this service reads no URLs and no"
            " paths",
        )
    return from_base64(value, "img")


def _arguments(fields: Mapping[str, Any]) -> Arguments:
    try:
        return Arguments.model_validate({name: fields[name] for name in Arguments.model_fields if name in fields})
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem["msg"].removeprefix("Value error, ")
        raise FerError(ErrorCode.INVALID_PARAMETER, f"{problem['loc'][0]}: {reason}") from None
