"""Parsing of `POST /analyze`: JSON, a multipart form or a URL-encoded form becomes image bytes and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from app.api.parsing.base64_image import from_base64
from app.api.parsing.body import MULTIPART, URL_ENCODED, media_type, read_body
from app.api.parsing.form import Part, read_form
from app.api.parsing.json_body import decode_json
from app.domain import PredictOptions
from app.errors import ErrorCode, FerError

_IMAGE_FIELDS = ("img", "img_path")  # DeepFace up to 0.0.92 uses img_path
# DeepFace's names of its detectors. The service accepts all of them and runs its own detector.
DETECTORS = frozenset({"opencv", "ssd", "dlib", "mtcnn", "fastmtcnn", "retinaface", "mediapipe", "yunet", "centerface"})
DETECTORS |= {"yolov8"} | {f"yolov{version}{size}" for version in (8, 11, 12) for size in "nsml"}
NO_DETECTOR = "skip"

_MAX_DETAIL = 300  # msgspec quotes received values of any length
_MAX_FIELDS = 1000
# Limits on % escapes in a URL-encoded form. Base64 needs about one per 34 bytes: two of its 64 characters are escaped.
_MAX_ESCAPES, _BYTES_PER_ESCAPE = 1000, 16
_DATA_URL = "data:"
_PUNCTUATION = str.maketrans("", "", "[]()\"' ")  # DeepFace drops these characters from actions in a form


class _JsonImage(msgspec.Struct):
    img: str | None = None
    img_path: str | None = None


class AnalyzeOptions(msgspec.Struct):
    """Options beside the image. Names that are not here are ignored, as DeepFace does.

    Raises:
        ValueError: An option has a value that the service does not support. msgspec turns it into a ValidationError.
    """

    actions: str | list[Literal["emotion", "age", "gender", "race"]] = "emotion"
    detector_backend: str = "opencv"
    enforce_detection: bool = True
    anti_spoofing: bool = False
    expand_percentage: int = 0
    max_faces: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None

    def __post_init__(self) -> None:
        """Refuse unsupported values."""
        actions = self.actions.translate(_PUNCTUATION).split(",") if isinstance(self.actions, str) else self.actions
        if set(actions) != {"emotion"}:
            received = ", ".join(actions[:10])[:80]
            raise ValueError(f"actions: this service analyses emotion only. Received: {received or 'none'}")
        if self.detector_backend not in DETECTORS | {NO_DETECTOR}:
            raise ValueError(f"detector_backend: invalid detector_backend passed - {self.detector_backend[:80]}")
        if self.anti_spoofing:
            raise ValueError("anti_spoofing: expected false, because this service does not detect spoofing")
        if self.expand_percentage:
            raise ValueError("expand_percentage: expected 0, because this service does not expand faces")

    def predict_options(self) -> PredictOptions:
        """Return the options of the native API that mean the same."""
        detect = self.detector_backend != NO_DETECTOR
        return PredictOptions(detect) if self.max_faces is None else PredictOptions(detect, self.max_faces)


async def read_request(request: Request) -> tuple[bytes, AnalyzeOptions]:
    """Read the image and the options of a request.

    Raises:
        FerError: `malformed_request`, `invalid_base64`, `invalid_parameter`, `unsupported_media_type`,
            `payload_too_large`, `too_many_images` or `deadline_exceeded`.
    """
    kind = media_type(request)
    if kind == MULTIPART:
        parts = {part.name: part if part.is_file else part.text for part in await read_form(request, max_files=1)}
        return _image(parts), _form_options(parts)
    body = await read_body(request)
    if kind == URL_ENCODED:
        fields = _decode_form(body)
        return _image(fields), _form_options(fields)
    # DeepFace's clients send JSON under several media types.
    return _json_image(body), decode_json(body, AnalyzeOptions, ErrorCode.INVALID_PARAMETER, strict=False)


def _form_options(fields: Mapping[str, Any]) -> AnalyzeOptions:
    try:
        return msgspec.convert(dict(fields), AnalyzeOptions, strict=False)
    except msgspec.ValidationError as error:
        raise FerError(ErrorCode.INVALID_PARAMETER, str(error)[:_MAX_DETAIL]) from None


def _json_image(body: bytes) -> bytes:
    try:
        image = decode_json(body, _JsonImage, ErrorCode.INVALID_PARAMETER)
    except FerError as error:
        if error.code is ErrorCode.INVALID_PARAMETER:
            raise _not_a_data_url() from None
        raise
    return _image({"img": image.img, "img_path": image.img_path})


def _image(fields: Mapping[str, str | Part | None]) -> bytes:
    for name in _IMAGE_FIELDS:
        value = fields.get(name)
        if isinstance(value, Part):
            return value.data
        if value:
            if value[: len(_DATA_URL)].lower() != _DATA_URL:
                raise _not_a_data_url()
            return from_base64(value, name)
    raise FerError(ErrorCode.MALFORMED_REQUEST, "'img' not found in request in either json or form data")


def _not_a_data_url() -> FerError:
    return FerError(
        ErrorCode.MALFORMED_REQUEST,
        "img must be a data URL (data:image/...;base64,...) or an uploaded file: this service reads no URLs and no"
        " paths",
    )


def _decode_form(body: bytes) -> dict[str, str]:
    """Return the fields of a URL-encoded form. Millions of fields or escapes would block the event loop for seconds.

    Raises:
        FerError: `malformed_request`.
    """
    escapes, limit = body.count(b"%"), _MAX_ESCAPES + len(body) // _BYTES_PER_ESCAPE
    try:
        if escapes > limit:
            raise ValueError(f"at most {limit} escapes (%) are accepted in a form of this size. Received: {escapes}")
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"the form cannot be read: {error}") from None
