"""`GET /info`: what serves here."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.api.documentation import example_answer, problem_responses
from app.api.guards import authorise
from app.api.schemas import EXAMPLE_INFO, Info, Limits
from app.api.service import service_of
from app.errors import ErrorCode

router = APIRouter(tags=["operations"], dependencies=[Depends(authorise)])


@router.get(
    "/info",
    summary="The model, its measured quality, the provider and the limits",
    responses=example_answer(EXAMPLE_INFO) | problem_responses(ErrorCode.UNAUTHORIZED, ErrorCode.NOT_READY),
)
async def info(request: Request) -> Info:
    """The manifest of the loaded model, and what the instance accepts."""
    service = service_of(request)
    engine = service.require_engine()
    limits = Limits(**{name: getattr(service.settings, name) for name in Limits.model_fields})
    return Info.of(engine.manifest, engine.provider, limits)
