"""The errors that the service reports: one public code for each.

The module does not depend on HTTP. `app.api.problems` maps each code to a status.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Every `code` that an error response can have. Codes are public API: they are added and never renamed."""

    MALFORMED_REQUEST = "malformed_request"
    INVALID_BASE64 = "invalid_base64"
    EMPTY_IMAGE = "empty_image"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RELOAD_IN_PROGRESS = "reload_in_progress"
    MODEL_REFUSED = "model_refused"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_IMAGES = "too_many_images"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_IMAGE_FORMAT = "unsupported_image_format"
    INVALID_PARAMETER = "invalid_parameter"
    UNDECODABLE_IMAGE = "undecodable_image"
    IMAGE_TOO_SMALL = "image_too_small"
    NO_FACE_DETECTED = "no_face_detected"
    INTERNAL = "internal"
    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    DEADLINE_EXCEEDED = "deadline_exceeded"


class FerError(Exception):
    """A failure with a public code and a sentence for the caller.

    Args:
        code: The failure, for programs.
        detail: What was expected and what was received, for people. The client receives this text, so it must not
            contain a file path, a traceback or the text of another exception.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
