"""Requests and responses of the Open Inference Protocol, with their OpenAPI examples."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict

PLATFORM = "onnx_onnxv1"  # the protocol's name for "ONNX model for ONNX Runtime"
EXTENSIONS = ["binary_tensor_data"]

MAX_OUTPUTS = 8  # the model has one
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class ServerMetadata(_Response):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class Live(_Response):
    """Liveness."""

    live: bool


class ServerReady(_Response):
    """Readiness of the instance."""

    ready: bool


class ModelReady(_Response):
    """Readiness of the model."""

    name: str
    ready: bool


class TensorMetadata(_Response):
    """Name, data type and shape of a tensor; -1 in the shape is a size that the client chooses."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(_Response):
    """The model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Parameters(msgspec.Struct, frozen=True, gc=False):
    """Parameters of a request, an input or an output. `None` types refuse extensions that the service does not have."""

    binary_data_size: _Count | None = None
    binary_data: bool | None = None
    binary_data_output: bool = False
    classification: None = None
    shared_memory_region: None = None


_NO_PARAMETERS = Parameters()


class InputTensor(msgspec.Struct, frozen=True, gc=False):
    """One input. Its values are in `data` or, with `binary_data_size`, in the bytes after the JSON document.

    `data` stays undecoded until the shape has been checked, because its memory depends on the number of values. It is
    empty if the request has none. `shape` is a tuple because msgspec stops at a fifth element of a tuple, but decodes
    all elements of a list before it checks the length.
    """

    name: str
    shape: tuple[_Count, _Count, _Count, _Count]
    datatype: str
    parameters: Parameters = _NO_PARAMETERS
    data: msgspec.Raw = msgspec.Raw()

    @property
    def has_data(self) -> bool:
        """Whether the document has `data` other than null."""
        return bytes(memoryview(self.data)[:5]) not in (b"", b"null")


class RequestedOutput(msgspec.Struct, frozen=True, gc=False):
    """One output that the client requests."""

    name: str
    parameters: Parameters = _NO_PARAMETERS


class InferenceRequest(msgspec.Struct, frozen=True, gc=False):
    """The JSON document of an inference request.

    `inputs` is a tuple for the reason that `InputTensor` has for `shape`: the model has one input. `outputs` stays
    undecoded until its size has been checked, because it may be empty. It has no bytes if the request has none.
    """

    inputs: tuple[InputTensor]
    outputs: msgspec.Raw = msgspec.Raw()
    id: str | None = None
    parameters: Parameters = _NO_PARAMETERS


_LOGITS = [-0.42, -0.1, -0.25, 4.31, -0.23, 0.07, 0.55]
_REQUEST_EXAMPLE = {
    "inputs": [{"name": "image", "shape": [1, 48, 48, 1], "datatype": "UINT8", "data": [128, 130, "... 2304 numbers"]}]
}
INFERENCE_EXAMPLE = {
    "model_name": "fer_vgg",
    "model_version": "2026.11.1",
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 7], "data": _LOGITS}],
}
SERVER_EXAMPLE = {"name": "fer-serve", "version": "2.0.0", "extensions": EXTENSIONS}
MODEL_EXAMPLE = {
    "name": "fer_vgg",
    "versions": ["2026.11.1"],
    "platform": PLATFORM,
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 48, 48, 1]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 7]}],
}
NOT_READY_EXAMPLE = {"name": "fer_vgg", "ready": False}

_PARAMETERS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "binary_data_size": {"type": "integer", "minimum": 0},
        "binary_data": {"type": "boolean"},
        "binary_data_output": {"type": "boolean", "default": False},
    },
}
_INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 4, "maxItems": 4},
        "datatype": {"type": "string"},
        "parameters": _PARAMETERS_SCHEMA,
        "data": {"type": "array", "items": {}, "description": "whole numbers from 0 to 255, flat or nested by rows"},
    },
    "required": ["name", "shape", "datatype"],
}
_OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS_SCHEMA},
    "required": ["name"],
}
_REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS_SCHEMA,
        "inputs": {"type": "array", "items": _INPUT_SCHEMA, "minItems": 1, "maxItems": 1},
        "outputs": {"type": "array", "items": _OUTPUT_SCHEMA, "maxItems": MAX_OUTPUTS},
    },
    "required": ["inputs"],
}
INFERENCE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST_SCHEMA, "example": _REQUEST_EXAMPLE},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
