"""`POST /admin/reload`: a new model without a restart. There only where the operator set admin keys."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.api.documentation import example_answer, problem_responses
from app.api.guards import authorise_admin
from app.api.schemas import EXAMPLE_RELOADED, ModelName, Reloaded
from app.api.service import service_of
from app.errors import ErrorCode

router = APIRouter(prefix="/admin", tags=["operate"], dependencies=[Depends(authorise_admin)])


@router.post(
    "/reload",
    summary="Load the model files anew and serve them, if they pass every check",
    responses=example_answer(EXAMPLE_RELOADED)
    | problem_responses(
        ErrorCode.UNAUTHORIZED, ErrorCode.RELOAD_IN_PROGRESS, ErrorCode.MODEL_REFUSED, ErrorCode.NOT_READY
    ),
)
async def reload(request: Request) -> Reloaded:
    """Verifies and warms the files that FER_MODEL names beside the model at work, then swaps them in one step."""
    service = service_of(request)
    before = service.require_engine().manifest
    engine = await service.reload()
    manifest = engine.manifest
    return Reloaded(
        model=ModelName.of(manifest),
        sha256=manifest.sha256,
        replaced=manifest != before,
        request_id=request.state.request_id,
    )
