"""What the OpenAPI document says beyond the types: request bodies and an example of every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.api.problems import PROBLEM_JSON, STATUS, problem
from app.api.schemas import EXAMPLE_PREDICTION, Problem
from app.errors import ErrorCode, FerError

FILE = {"type": "string", "format": "binary"}
BASE64 = {
    "type": "string",
    "description": "base64 of the image file; a data URL is accepted",
    "examples": ["/9j/4AAQ"],
}

IMAGE_ERRORS = (
    ErrorCode.TOO_MANY_PIXELS,
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
    ErrorCode.UNDECODABLE_IMAGE,
    ErrorCode.IMAGE_TOO_SMALL,
    ErrorCode.NO_FACE_DETECTED,
    ErrorCode.INVALID_BASE64,
    ErrorCode.EMPTY_IMAGE,
)
REQUEST_ERRORS = (
    ErrorCode.MALFORMED_REQUEST,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.INVALID_PARAMETER,
    ErrorCode.INTERNAL,
    ErrorCode.NOT_READY,
    ErrorCode.OVERLOADED,
    ErrorCode.DEADLINE_EXCEEDED,
)

_EXAMPLE_ID = "5f0c9a7e3b1d4c1f8e2a6b7c8d9e0f1a"

PREDICTION_EXAMPLES: dict[str, Any] = {"fer": {"summary": "the service's own", "value": EXAMPLE_PREDICTION}}

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {**FILE, "description": "the image file (alias: image)"}},
                    "required": ["file"],
                }
            },
            "application/json": {
                "schema": {"type": "object", "properties": {"image": BASE64}, "required": ["image"]},
            },
            "image/*": {"schema": FILE},
            "application/octet-stream": {"schema": FILE},
        },
    }
}

BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": FILE}},
                    "required": ["file"],
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": BASE64}},
                    "required": ["images"],
                }
            },
        },
    }
}

# Not FastAPI's `model`, which would say that errors are application/json. Batch answers document the schema itself.
_PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}

_EXAMPLE_DETAILS = {
    ErrorCode.NOT_FOUND: "there is no such model here. Received: resnet50",
    ErrorCode.MALFORMED_REQUEST: "expected a file part named file or image. Received: a file named photo",
    ErrorCode.INVALID_BASE64: "image is not valid base64 (standard or URL-safe alphabet, padding optional)",
    ErrorCode.EMPTY_IMAGE: "the image has no bytes",
    ErrorCode.UNAUTHORIZED: "expected a valid API key in X-API-Key or Authorization: Bearer. Received: none",
    ErrorCode.RELOAD_IN_PROGRESS: "another reload is under way; ask again when it has ended",
    ErrorCode.MODEL_REFUSED: "the new model was refused and the old one serves on; the log says why",
    ErrorCode.PAYLOAD_TOO_LARGE: "the body may have 10485760 bytes. Received: at least 20971520",
    ErrorCode.TOO_MANY_PIXELS: "the image has 48000000 pixels (8000x6000); at most 40000000 are accepted",
    ErrorCode.TOO_MANY_IMAGES: "at most 32 images are accepted. Received: 40",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "expected multipart/form-data or application/json. Received: text/plain",
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: "expected a JPEG, PNG, WebP, BMP, GIF or TIFF file",
    ErrorCode.INVALID_PARAMETER: "max_faces: Input should be greater than or equal to 1. Received: 0",
    ErrorCode.UNDECODABLE_IMAGE: "the JPEG file is truncated or corrupt",
    ErrorCode.IMAGE_TOO_SMALL: "the image is 4x4 pixels; both sides need at least 8",
    ErrorCode.NO_FACE_DETECTED: "require_face is true and no face was found in the image",
    ErrorCode.INTERNAL: "the service failed to answer this request; its log has the reason under this request id",
    ErrorCode.NOT_READY: "the instance is not ready: the model is loading",
    ErrorCode.OVERLOADED: "256 requests are being answered already; try again shortly",
    ErrorCode.DRAINING: "draining: the instance is shutting down",
    ErrorCode.DEADLINE_EXCEEDED: "the answer was not ready within the deadline, queue time included",
}


def example_error(code: ErrorCode) -> FerError:
    """An error of this code, with a sentence as the service would say it."""
    return FerError(code, _EXAMPLE_DETAILS[code])


def example_answer(value: Any) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers such JSON."""
    return {200: {"content": {"application/json": {"example": value}}}}


def problem_responses(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these codes: one entry a status, one example a code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        example = problem(example_error(code), _EXAMPLE_ID)
        response = responses.setdefault(
            STATUS[code],
            {"description": "", "content": {PROBLEM_JSON: {"schema": _PROBLEM_SCHEMA, "examples": {}}}},
        )
        response["content"][PROBLEM_JSON]["examples"][code.value] = {"value": example.model_dump(mode="json")}
        response["description"] = ", ".join(response["content"][PROBLEM_JSON]["examples"])
    return responses


def inlined_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, free of references: for bodies that FastAPI does not document by itself."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(entry) for entry in part]
        if not isinstance(part, dict):
            return part
        beside = {name: inline(value) for name, value in part.items() if name != "$ref"}
        if "$ref" in part:
            return inline(definitions[part["$ref"].rpartition("/")[2]]) | beside
        return beside

    return {name: inline(value) for name, value in schema.items()}


def example_batch() -> dict[str, Any]:
    """The answer to a batch of two, of which one is no image."""
    failed = problem(example_error(ErrorCode.UNDECODABLE_IMAGE), _EXAMPLE_ID).model_dump(mode="json")
    shared = {name: EXAMPLE_PREDICTION[name] for name in ("model", "request_id")}
    return {"results": [EXAMPLE_PREDICTION, {"error": failed}], **shared}


def document_keys(app: FastAPI) -> None:
    """Adds to an app's OpenAPI document how to send a key, so that the page of `/docs` can."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["security"] = [{}, {"key": []}, {"bearer": []}]  # needed only where the operator set keys
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation extends it
