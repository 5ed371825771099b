"""`POST /admin/reload`: replace the model without a restart. The route exists only if the operator set admin keys."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.api.auth import authorise_admin
from app.api.documentation import example_response, problem_responses
from app.api.schemas import examples
from app.api.schemas.base import ModelName
from app.api.schemas.operations import Reloaded
from app.api.service import service_of
from app.errors import ErrorCode

router = APIRouter(prefix="/admin", tags=["operations"], dependencies=[Depends(authorise_admin)])


@router.post(
    "/reload",
    summary="Load the model files again, and serve them if they pass every check",
    responses=example_response(examples.RELOADED)
    | problem_responses(
        ErrorCode.UNAUTHORIZED, ErrorCode.RELOAD_IN_PROGRESS, ErrorCode.MODEL_REFUSED, ErrorCode.NOT_READY
    ),
)
async def reload(request: Request) -> Reloaded:
    """Verify and warm up the files of FER_MODEL beside the current model, then replace it in one step."""
    engine = service_of(request).engine
    previous = engine.model.manifest
    manifest = (await engine.reload()).manifest
    return Reloaded(
        model=ModelName.of_manifest(manifest),
        sha256=manifest.sha256,
        replaced=manifest != previous,
        request_id=request.state.request_id,
    )
