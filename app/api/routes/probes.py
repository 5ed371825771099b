"""Liveness, readiness and metrics, for orchestrators and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authorise_metrics
from app.api.documentation import example_response, problem_responses
from app.api.schemas.operations import Health, Ready
from app.api.service import service_of
from app.engine.readiness import State
from app.errors import ErrorCode, FerError

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Liveness", responses=example_response({"status": "ok"}))
async def healthz() -> Health:
    """Return 200 while the process and its event loop run. The model is not used."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Readiness",
    responses=example_response({"status": "ready"}) | problem_responses(ErrorCode.NOT_READY, ErrorCode.DRAINING),
)
async def readyz(request: Request) -> Ready:
    """Return 200 once the model is loaded, self-tested and warm; 503 with a reason otherwise."""
    readiness = service_of(request).readiness
    if readiness.state is State.READY:
        return Ready(status="ready")
    code = ErrorCode.DRAINING if readiness.state is State.DRAINING else ErrorCode.NOT_READY
    raise FerError(code, f"{readiness.state}: {readiness.reason}")


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    dependencies=[Depends(authorise_metrics)],
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": "fer_inflight_requests 1.0\n"}}},
        **problem_responses(ErrorCode.UNAUTHORIZED),
    },
)
async def metrics(request: Request) -> Response:
    """Return Prometheus text, or OpenMetrics if the Accept header prefers it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service_of(request).metrics.registry), headers={"Content-Type": content_type})
