"""Routes of the Open Inference Protocol: server metadata, health, model metadata and inference."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.auth import authorise
from app.api.documentation import REQUEST_ERRORS, example_response
from app.api.parsing.body import read_body
from app.api.permits import ADMIT
from app.api.problems import STATUS
from app.api.service import service_of
from app.compat.error_format import CompatibleRoute, ErrorFormat
from app.compat.inference_protocol.parsing import (
    DATATYPES,
    HEADER_LENGTH,
    describe_tensor,
    read_crops,
    read_document,
    wants_binary,
)
from app.compat.inference_protocol.schemas import (
    EXTENSIONS,
    INFERENCE_BODY,
    INFERENCE_EXAMPLE,
    MODEL_EXAMPLE,
    NOT_READY_EXAMPLE,
    PLATFORM,
    SERVER_EXAMPLE,
    InferenceRequest,
    Live,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    ServerReady,
)
from app.contract.manifest import Contract
from app.engine.model import ServingModel
from app.engine.readiness import State
from app.errors import ErrorCode, FerError

_UNAVAILABLE = 503
_LITTLE_ENDIAN_FLOAT = "<f4"
_ModelName = Annotated[str, Path(description="name of the model, as in `/info`")]


def _status(code: ErrorCode) -> int:
    return 400 if STATUS[code] in {415, 422} else STATUS[code]


class _ProtocolRoute(CompatibleRoute):
    error_format = ErrorFormat(lambda error: {"error": error.detail}, _status)


_openapi_responses = _ProtocolRoute.error_format.openapi_responses
_MODEL_ERRORS = _openapi_responses(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_FOUND, ErrorCode.NOT_READY)

health_router = APIRouter(prefix="/v2", tags=["compatible"], route_class=_ProtocolRoute)
model_router = APIRouter(
    prefix="/v2/models/{name}", tags=["compatible"], dependencies=[Depends(authorise)], route_class=_ProtocolRoute
)
ROUTERS = (health_router, model_router)


@health_router.get("", summary="Open Inference Protocol: server metadata", responses=example_response(SERVER_EXAMPLE))
async def server_metadata(request: Request) -> ServerMetadata:
    """Return name, version and extensions of the server."""
    return ServerMetadata(name="fer-serve", version=request.app.version, extensions=EXTENSIONS)


@health_router.get(
    "/health/live", summary="Open Inference Protocol: liveness", responses=example_response({"live": True})
)
async def live() -> Live:
    """Return 200 while the process answers, as `/healthz` does."""
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
    """Return 200 once the model is loaded, as `/readyz` does."""
    is_ready = service_of(request).readiness.state is State.READY
    return _readiness(ServerReady(ready=is_ready), is_ready)


@model_router.get(
    "", summary="Open Inference Protocol: model metadata", responses=example_response(MODEL_EXAMPLE) | _MODEL_ERRORS
)
@model_router.get("/versions/{version}", include_in_schema=False)
async def model_metadata(request: Request, name: _ModelName) -> ModelMetadata:
    """Return the tensors of the model: crops in, logits out."""
    contract = _served_model(request, name).manifest.contract
    return ModelMetadata(
        name=contract.name,
        versions=[contract.version],
        platform=PLATFORM,
        inputs=[describe_tensor(contract.input)],
        outputs=[describe_tensor(contract.output)],
    )


@model_router.get(
    "/ready",
    summary="Open Inference Protocol: model readiness",
    responses={
        200: {"model": ModelReady, "content": {"application/json": {"example": {"name": "fer_vgg", "ready": True}}}},
        **_openapi_responses(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_FOUND),
        503: {"description": "not ready", "content": {"application/json": {"example": NOT_READY_EXAMPLE}}},
    },
)
@model_router.get("/versions/{version}/ready", include_in_schema=False)
async def model_ready(request: Request, name: _ModelName) -> Response:
    """Return 200 while the model accepts inference requests."""
    _served_model(request, name)
    is_ready = service_of(request).readiness.state is State.READY
    return _readiness(ModelReady(name=name, ready=is_ready), is_ready)


@model_router.post(
    "/infer",
    summary="Open Inference Protocol: inference",
    response_class=Response,
    dependencies=[ADMIT],
    responses={
        200: {"description": "The logits", "content": {"application/json": {"example": INFERENCE_EXAMPLE}}},
        **_openapi_responses(*REQUEST_ERRORS, ErrorCode.NOT_FOUND),
    },
    openapi_extra=INFERENCE_BODY,
)
@model_router.post("/versions/{version}/infer", include_in_schema=False, dependencies=[ADMIT])
async def infer(request: Request, name: _ModelName) -> Response:
    """Send crops of raw grey levels, uint8 [N, 48, 48, 1]. N is at most `max_batch` of `/info`."""
    model = _served_model(request, name)
    contract = model.manifest.contract
    document, binary = read_document(await read_body(request), request.headers)
    crops = read_crops(document, binary, contract.input, service_of(request).settings.max_batch)
    as_binary = wants_binary(document, contract.output)
    logits = await model.pipeline.logits(crops, request.state.deadline, bulk=request.state.bulk)
    return _inference_response(document, contract, logits, as_binary)


def _served_model(request: Request, name: str) -> ServingModel:
    """Return the current model if it has the requested name and, on routes with a version, the requested version.

    Raises:
        FerError: `not_found` or `not_ready`.
    """
    version = request.path_params.get("version")
    model = service_of(request).engine.model
    contract = model.manifest.contract
    if name != contract.name or version not in {None, contract.version}:
        received = name if version is None else f"{name} {version}"
        raise FerError(
            ErrorCode.NOT_FOUND,
            f"expected the model {contract.name} {contract.version}. Received: {received[:100]}",
        )
    return model


def _readiness(state: BaseModel, is_ready: bool) -> Response:
    return JSONResponse(state.model_dump(), status_code=200 if is_ready else _UNAVAILABLE)


def _inference_response(
    request: InferenceRequest, contract: Contract, logits: npt.NDArray[np.float32], as_binary: bool
) -> Response:
    output: dict[str, Any] = {
        "name": contract.output.name,
        "datatype": DATATYPES[contract.output.dtype],
        "shape": list(logits.shape),
    }
    raw = logits.astype(_LITTLE_ENDIAN_FLOAT).tobytes() if as_binary else b""
    if as_binary:
        output["parameters"] = {"binary_data_size": len(raw)}
    else:
        output["data"] = logits.ravel().tolist()
    document = {"model_name": contract.name, "model_version": contract.version, "outputs": [output]}
    if request.id is not None:
        document["id"] = request.id
    if not as_binary:
        return JSONResponse(document)
    header = json.dumps(document).encode()
    return Response(header + raw, media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(header))})
