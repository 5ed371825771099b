"""The OpenAPI document: request bodies, and an example of every response and error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.options import OptionsQuery
from app.api.parsing.body import MULTIPART
from app.api.parsing.images import FILE_FIELDS, JSON_FIELDS, JSON_LIST_FIELD
from app.api.problems import PROBLEM_JSON, STATUS, problem
from app.api.schemas import examples
from app.api.schemas.problem import Problem
from app.api.schemas.stream import FramePrediction, StreamError, StreamKey
from app.api.urgency import header_parameters
from app.errors import ErrorCode, FerError

FILE = {"type": "string", "format": "binary"}
BASE64 = {
    "type": "string",
    "description": "the image file in base64; a data URL of any media type is accepted",
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

_EXAMPLE_DETAILS = {
    ErrorCode.NOT_FOUND: "this instance serves no model of this name. Received: resnet50",
    ErrorCode.MALFORMED_REQUEST: "expected a file part named file or image. Received: a file named photo",
    ErrorCode.INVALID_BASE64: "image is not valid base64 (standard or URL-safe alphabet, padding optional)",
    ErrorCode.EMPTY_IMAGE: "the image has no bytes",
    ErrorCode.UNAUTHORIZED: "expected a valid API key in X-API-Key or Authorization: Bearer. Received: no key",
    ErrorCode.RELOAD_IN_PROGRESS: "another reload is in progress; try again when it has ended",
    ErrorCode.MODEL_REFUSED: "the new model was refused and the current model continues to serve;"
    " the log has the reason",
    ErrorCode.PAYLOAD_TOO_LARGE: "the body may have 20971520 bytes. Received: at least 41943040",
    ErrorCode.TOO_MANY_PIXELS: "at most 40000000 pixels are accepted. Received: 48000000 (8000x6000)",
    ErrorCode.TOO_MANY_IMAGES: "at most 32 images are accepted. Received: more",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "expected multipart/form-data or application/json. Received: text/plain",
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT: "expected a JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF file."
    " Received: an MP4 video; send single frames as JPEG, to /predict or the stream",
    ErrorCode.INVALID_PARAMETER: "max_faces: Input should be greater than or equal to 1. Received: 0",
    ErrorCode.UNDECODABLE_IMAGE: "the JPEG file is truncated or corrupt",
    ErrorCode.IMAGE_TOO_SMALL: "both sides need at least 8 pixels. Received: 4x4",
    ErrorCode.NO_FACE_DETECTED: "require_face is true and no face was found in the image",
    ErrorCode.INTERNAL: "the service failed to answer this request; its log has the reason under this request id",
    ErrorCode.NOT_READY: "the instance is not ready: the model is loading",
    ErrorCode.OVERLOADED: "256 requests are in progress already; try again shortly",
    ErrorCode.DRAINING: "draining: the instance is shutting down",
    ErrorCode.DEADLINE_EXCEEDED: "the answer was not ready within the deadline, queue time included",
}

# Not FastAPI's `model`, which documents errors as application/json. Batch responses document the schema itself.
_PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}

_STREAM_DESCRIPTION = (
    "`WS /ws` answers the frames of a video over a WebSocket. Send each frame as a binary message that holds one image"
    " file. Each frame is answered with a `FramePrediction` or a `StreamError`, in order; a frame that waits while a"
    " newer one arrives is dropped and counted in `dropped`. The query parameters of `POST /predict` apply to every"
    " frame, and `smoothing` (0 to 1) is the share of the previous scores of a face that remains after a tenth of a"
    " second. A client that cannot set headers sends its API key as the first message: a `StreamKey` in a text message."
)
TAGS = [
    {"name": "predict", "description": "Find the faces of images and classify their expressions."},
    {"name": "stream", "description": _STREAM_DESCRIPTION},
    {"name": "operations", "description": "Probes, metrics, the model and the limits of the instance."},
    {
        "name": "compatible",
        "description": "The APIs of DeepFace, Amazon Rekognition, Azure Face and the Open Inference Protocol, as far as"
        " they concern emotions. Errors have the format of the respective service.",
    },
]


def example_error(code: ErrorCode) -> FerError:
    """Return an error of a code with an example of its sentence."""
    return FerError(code, _EXAMPLE_DETAILS[code])


def example_response(value: Any) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with such JSON."""
    return {200: {"content": {"application/json": {"example": value}}}}


def problem_responses(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can fail with these codes: an entry per status, an example per code."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        example = problem(example_error(code), examples.REQUEST_ID)
        response = responses.setdefault(
            STATUS[code],
            {"description": "", "content": {PROBLEM_JSON: {"schema": _PROBLEM_SCHEMA, "examples": {}}}},
        )
        response["content"][PROBLEM_JSON]["examples"][code.value] = {"value": example.model_dump(mode="json")}
        response["description"] = ", ".join(response["content"][PROBLEM_JSON]["examples"])
    return responses


def example_batch() -> dict[str, Any]:
    """Return the response to a batch of two, one of which is not an image."""
    failed = problem(example_error(ErrorCode.UNDECODABLE_IMAGE), examples.REQUEST_ID).model_dump(mode="json")
    shared = {name: examples.PREDICTION[name] for name in ("model", "request_id")}
    return {"results": [examples.PREDICTION, {"error": failed}], **shared}


def predict_body() -> dict[str, Any]:
    """Return the request body of `POST /predict`.

    JSON is first: generators of clients that support one media type, such as openapi-generator, choose the first one.
    """
    return _request_body(
        {
            "application/json": _json_object("PredictBody", JSON_FIELDS[0], BASE64),
            MULTIPART: open_form(FILE_FIELDS[0], FILE),
            "image/*": FILE,
            "application/octet-stream": FILE,
        }
    )


def predict_form_body() -> dict[str, Any]:
    """Return the request body of `POST /predict/form`."""
    return _request_body({MULTIPART: _form({**FILE, "description": "the image file"})})


def batch_body() -> dict[str, Any]:
    """Return the request body of `POST /predict/batch`, JSON first as in `predict_body`."""
    return _request_body(
        {
            "application/json": _json_object("PredictBatchBody", JSON_LIST_FIELD, {"type": "array", "items": BASE64}),
            MULTIPART: open_form(FILE_FIELDS[0], {}),
        }
    )


def batch_form_body() -> dict[str, Any]:
    """Return the request body of `POST /predict/batch/form`."""
    return _request_body({MULTIPART: _form({"type": "array", "items": FILE, "description": "one part each"})})


def open_form(required: str, part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a form that is not the first media type of its operation.

    It names no properties: openapi-generator's TypeScript client would import a model for them that it does not write.

    Args:
        required: Name of the part with the image.
        part: Schema of a part; empty if parts may be repeated.
    """
    return {
        "type": "object",
        "required": [required],
        "additionalProperties": part,
        "description": f"a part `{required}` with the image file, and options as parts with texts",
    }


def operation_id(route: APIRoute) -> str:
    """Return the name of the function of a route, so that generated clients are readable."""
    return route.name


def extend_openapi(app: FastAPI) -> None:
    """Add the API keys and the messages of `/ws` to the OpenAPI document of an application."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["security"] = [{}, {"key": []}, {"bearer": []}]  # a key is needed only if the operator set keys
        document["components"]["schemas"] |= _stream_schemas()
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way to extend the document


def _stream_schemas() -> dict[str, Any]:
    """Return the schemas of the messages of `/ws` and of their parts, by name. FastAPI documents no WebSocket."""
    messages: tuple[type[BaseModel], ...] = (FramePrediction, StreamError, StreamKey)
    _, schemas = models_json_schema(
        [(message, "serialization") for message in messages], ref_template="#/components/schemas/{model}"
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def _json_object(title: str, required: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a JSON body with images and options. Generated clients use the title as name of the type."""
    options = OptionsQuery.model_json_schema()["properties"]
    return {"title": title, "type": "object", "properties": {required: schema, **options}, "required": [required]}


def _form(files: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {FILE_FIELDS[0]: files}, "required": [FILE_FIELDS[0]]}


def _request_body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}, "parameters": header_parameters()}
