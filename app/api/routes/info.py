"""`GET /info`: the model that serves, and the limits."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.api.auth import authorise
from app.api.documentation import example_response, problem_responses
from app.api.schemas import examples
from app.api.schemas.operations import Info, Limits
from app.api.service import service_of
from app.errors import ErrorCode

router = APIRouter(tags=["operations"], dependencies=[Depends(authorise)])


@router.get(
    "/info",
    summary="The model, its measured quality, the execution provider and the limits",
    responses=example_response(examples.INFO) | problem_responses(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_READY),
)
async def info(request: Request) -> Info:
    """Return the manifest of the current model, and the limits of the instance."""
    service = service_of(request)
    model = service.engine.model
    limits = Limits(**{name: getattr(service.settings, name) for name in Limits.model_fields})
    return Info.of(model.manifest, model.provider, service.settings.detector, limits, service.settings.source_url)
