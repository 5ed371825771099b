"""The Open Inference Protocol (v2) for the bare tensor model, as KServe and Triton speak it over HTTP.

Crops in, logits out: who uses it cuts faces out as `app.contract.preprocess` does, and calibrates as `/info` says. It
goes through the same permits, deadline, queue and batches as images do.

Reference: kserve/open-inference-protocol `inference_rest.md`, with its extension "binary tensor data".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.auth import authorise
from app.api.documentation import REQUEST_ERRORS, example_response, inlined_schema
from app.api.parsing.body import read_body
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import Dialect, errors_in
from app.compat.json_body import MAX_JSON_COMMAS, check_commas
from app.contract.manifest import Contract, TensorSpec
from app.engine.model import ServingModel
from app.engine.readiness import State
from app.errors import ErrorCode, FerError

HEADER_LENGTH = "Inference-Header-Content-Length"
PLATFORM = "onnx_onnxv1"  # the protocol's name for "ONNX model for ONNX Runtime"
EXTENSIONS = ["binary_tensor_data"]

_DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
_MAX_LEVEL = np.iinfo(np.uint8).max
_UNAVAILABLE = 503
# Inputs, outputs and sizes of a shape, of which there are one, one and four: a million bad ones would be described.
_Few = Field(max_length=8)
_LITTLE_ENDIAN_FLOAT = "<f4"


def _status(code: ErrorCode) -> int:
    return 400 if STATUS[code] in {415, 422} else STATUS[code]


DIALECT = Dialect(lambda error: {"error": error.detail}, _status)
_RouteClass = errors_in(lambda request: DIALECT)

health_router = APIRouter(prefix="/v2", tags=["compatible"], route_class=_RouteClass)
model_router = APIRouter(
    prefix="/v2/models/{name}", tags=["compatible"], dependencies=[Depends(authorise)], route_class=_RouteClass
)
ROUTERS = (health_router, model_router)


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class ServerMetadata(_Wire):
    """Who serves here."""

    name: str
    version: str
    extensions: list[str]


class Live(_Wire):
    """Liveness."""

    live: bool


class ServerReady(_Wire):
    """Readiness of the instance."""

    ready: bool


class ModelReady(_Wire):
    """Readiness of the model."""

    name: str
    ready: bool


class TensorMetadata(_Wire):
    """One tensor; -1 in the shape is a size of the caller's choice."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(_Wire):
    """The model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class _Parameters(BaseModel):
    binary_data_size: int | None = Field(default=None, ge=0)
    binary_data: bool = False
    binary_data_output: bool = False
    classification: None = None
    shared_memory_region: None = None


class InputTensor(BaseModel):
    """One input: its numbers in `data`, flat or nested row by row, or behind the JSON (`binary_data_size`)."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0)]], _Few]
    datatype: str
    parameters: _Parameters = _Parameters()
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    """One output that is wanted."""

    name: str
    parameters: _Parameters = _Parameters()


class InferenceRequest(BaseModel):
    """The JSON of an inference request."""

    id: str | None = None
    parameters: _Parameters = _Parameters()
    inputs: Annotated[list[InputTensor], _Few]
    outputs: Annotated[list[RequestedOutput], _Few] = Field(default_factory=list)


_LOGITS = [-0.42, -0.1, -0.25, 4.31, -0.23, 0.07, 0.55]
_REQUEST_EXAMPLE = {
    "inputs": [{"name": "image", "shape": [1, 48, 48, 1], "datatype": "UINT8", "data": [128, 130, "... 2304 numbers"]}]
}
_ANSWER_EXAMPLE = {
    "model_name": "fer_vgg",
    "model_version": "2026.11.1",
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 7], "data": _LOGITS}],
}
_MODEL_EXAMPLE = {
    "name": "fer_vgg",
    "versions": ["2026.11.1"],
    "platform": PLATFORM,
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 48, 48, 1]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 7]}],
}
_MODEL_ERRORS = DIALECT.documented(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_FOUND, ErrorCode.NOT_READY)
_NOT_READY_EXAMPLE = {"name": "fer_vgg", "ready": False}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": inlined_schema(InferenceRequest), "example": _REQUEST_EXAMPLE},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@health_router.get(
    "",
    summary="Open Inference Protocol: the server",
    responses=example_response({"name": "fer-serve", "version": "1.0.0", "extensions": EXTENSIONS}),
)
async def server_metadata(request: Request) -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(name="fer-serve", version=request.app.version, extensions=EXTENSIONS)


@health_router.get(
    "/health/live", summary="Open Inference Protocol: liveness", responses=example_response({"live": True})
)
async def live() -> Live:
    """As `/healthz`."""
    return Live(live=True)


@health_router.get(
    "/health/ready",
    summary="Open Inference Protocol: readiness",
    responses={
        200: {"model": ServerReady, "content": {"application/json": {"example": {"ready": True}}}},
        503: {"description": "not ready", "content": {"application/json": {"example": {"ready": False}}}},
    },
)
async def ready(request: Request) -> Response:
    """As `/readyz`."""
    is_ready = service_of(request).readiness.state is State.READY
    return _health(ServerReady(ready=is_ready), is_ready)


@model_router.get(
    "", summary="Open Inference Protocol: the model", responses=example_response(_MODEL_EXAMPLE) | _MODEL_ERRORS
)
@model_router.get("/versions/{version}", include_in_schema=False)
async def model_metadata(request: Request, name: str) -> ModelMetadata:
    """Its tensors: crops in, logits out."""
    contract = _model(request, name).manifest.contract
    return ModelMetadata(
        name=contract.name,
        versions=[contract.version],
        platform=PLATFORM,
        inputs=[_tensor(contract.input)],
        outputs=[_tensor(contract.output)],
    )


@model_router.get(
    "/ready",
    summary="Open Inference Protocol: the model's readiness",
    responses={
        200: {"model": ModelReady, "content": {"application/json": {"example": {"name": "fer_vgg", "ready": True}}}},
        **DIALECT.documented(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_FOUND),
        503: {"description": "not ready", "content": {"application/json": {"example": _NOT_READY_EXAMPLE}}},
    },
)
@model_router.get("/versions/{version}/ready", include_in_schema=False)
async def model_ready(request: Request, name: str) -> Response:
    """Whether it can be run."""
    _model(request, name)
    is_ready = service_of(request).readiness.state is State.READY
    return _health(ModelReady(name=name, ready=is_ready), is_ready)


@model_router.post(
    "/infer",
    summary="Open Inference Protocol: run the model",
    response_class=Response,
    dependencies=[ADMIT],
    responses={
        200: {"description": "The logits", "content": {"application/json": {"example": _ANSWER_EXAMPLE}}},
        **DIALECT.documented(*REQUEST_ERRORS, ErrorCode.NOT_FOUND),
    },
    openapi_extra=_BODY,
)
@model_router.post("/versions/{version}/infer", include_in_schema=False, dependencies=[ADMIT])
async def infer(request: Request, name: str) -> Response:
    """Crops, uint8 [N, 48, 48, 1] of raw grey levels; N at most `max_batch` of `/info`."""
    engine = _model(request, name)
    contract = engine.manifest.contract
    max_batch = service_of(request).settings.max_batch
    asked, binary = _parse(await read_body(request), request.headers, _most_commas(contract.input, max_batch))
    crops = _crops(asked, binary, contract.input, max_batch)
    as_binary = _wants_binary(asked, contract.output)
    logits = await engine.pipeline.logits(crops, request.state.deadline)
    return _answer(asked, contract, logits, as_binary)


def _model(request: Request, name: str) -> ServingModel:
    version = request.path_params.get("version")  # of the routes that have one
    engine = service_of(request).engine.model
    contract = engine.manifest.contract
    if name != contract.name or version not in {None, contract.version}:
        received = name if version is None else f"{name} {version}"
        raise FerError(
            ErrorCode.NOT_FOUND, f"the model here is {contract.name} {contract.version}. Received: {received[:100]}"
        )
    return engine


def _health(state: BaseModel, is_ready: bool) -> Response:
    return JSONResponse(state.model_dump(), status_code=200 if is_ready else _UNAVAILABLE)


def _tensor(spec: TensorSpec) -> TensorMetadata:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return TensorMetadata(name=spec.name, datatype=_DATATYPES[spec.dtype], shape=shape)


def _most_commas(spec: TensorSpec, max_batch: int) -> int:
    """Those of the largest batch written out, and as many as in any other request."""
    return MAX_JSON_COMMAS + max_batch * math.prod(size for size in spec.shape if isinstance(size, int))


def _parse(body: bytes, headers: Mapping[str, str], most_commas: int) -> tuple[InferenceRequest, bytes]:
    """The request's JSON and the bytes behind it."""
    declared = headers.get(HEADER_LENGTH, str(len(body)))
    if not (declared.isascii() and declared.isdigit() and int(declared) <= len(body)):
        raise FerError(
            ErrorCode.MALFORMED_REQUEST, f"{HEADER_LENGTH} must be at most {len(body)}. Received: {declared[:20]}"
        )
    document, binary = body[: int(declared)], body[int(declared) :]
    check_commas(document, most_commas)
    try:
        return InferenceRequest.model_validate_json(document), binary
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the request"
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"{place}: {problem['msg']}"[:300]) from None


def _crops(asked: InferenceRequest, binary: bytes, spec: TensorSpec, max_batch: int) -> npt.NDArray[np.uint8]:
    names = [tensor.name for tensor in asked.inputs]
    if names != [spec.name]:
        raise _refused(f"expected one input named {spec.name}. Received: {', '.join(names)[:100] or 'none'}")
    (tensor,) = asked.inputs
    expected = _tensor(spec)
    if tensor.datatype != expected.datatype:
        raise _refused(f"{spec.name} must be {expected.datatype}. Received: {tensor.datatype[:20]}")
    if tensor.shape[1:] != expected.shape[1:] or not 1 <= tensor.shape[0] <= max_batch:
        raise _refused(
            f"{spec.name} must be [N, {', '.join(map(str, expected.shape[1:]))}], N from 1 to {max_batch}."
            f" Received: {str(tensor.shape)[:100]}"
        )
    levels = _from_json(tensor) if tensor.parameters.binary_data_size is None else _from_bytes(tensor, binary)
    if levels.size != np.prod(tensor.shape):
        raise _refused(f"{spec.name} needs {np.prod(tensor.shape)} numbers for its shape. Received: {levels.size}")
    return levels.reshape(tensor.shape)


def _from_json(tensor: InputTensor) -> npt.NDArray[np.uint8]:
    # As objects: of texts, numpy would make an array in which each takes as much as the longest.
    numbers = np.asarray(tensor.data or [], dtype=object)
    kinds = set(map(type, numbers.flat))
    if list in kinds or (numbers.ndim > 1 and list(numbers.shape) != tensor.shape):  # rows of different lengths
        raise _refused(f"{tensor.name}: data must be flat, or nested as its shape says")
    if not kinds <= {int} or not all(0 <= number <= _MAX_LEVEL for number in numbers.flat):
        raise _refused(f"{tensor.name}: data must be whole numbers from 0 to {_MAX_LEVEL}")
    return numbers.astype(np.uint8)


def _from_bytes(tensor: InputTensor, binary: bytes) -> npt.NDArray[np.uint8]:
    if tensor.data is not None:
        raise _refused(f"{tensor.name}: expected data or binary_data_size. Received: both")
    if len(binary) != tensor.parameters.binary_data_size:
        raise _refused(
            f"{tensor.name}: binary_data_size is {tensor.parameters.binary_data_size}. Received: {len(binary)} bytes"
        )
    return np.frombuffer(binary, dtype=np.uint8)


def _wants_binary(asked: InferenceRequest, spec: TensorSpec) -> bool:
    names = [output.name for output in asked.outputs]
    if names not in ([], [spec.name]):
        raise _refused(f"the one output is {spec.name}. Received: {', '.join(names)[:100]}")
    if not asked.outputs or "binary_data" not in asked.outputs[0].parameters.model_fields_set:
        return asked.parameters.binary_data_output
    return asked.outputs[0].parameters.binary_data


def _answer(asked: InferenceRequest, contract: Contract, logits: npt.NDArray[np.float32], as_binary: bool) -> Response:
    output: dict[str, Any] = {
        "name": contract.output.name,
        "datatype": _DATATYPES[contract.output.dtype],
        "shape": list(logits.shape),
    }
    raw = logits.astype(_LITTLE_ENDIAN_FLOAT).tobytes() if as_binary else b""
    if as_binary:
        output["parameters"] = {"binary_data_size": len(raw)}
    else:
        output["data"] = logits.ravel().tolist()
    document = {"model_name": contract.name, "model_version": contract.version, "outputs": [output]}
    if asked.id is not None:
        document["id"] = asked.id
    if not as_binary:
        return JSONResponse(document)
    header = json.dumps(document).encode()
    return Response(header + raw, media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(header))})


def _refused(detail: str) -> FerError:
    return FerError(ErrorCode.INVALID_PARAMETER, detail)
