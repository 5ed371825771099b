"""`POST /predict` and `POST /predict/batch`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.compat import formats
from app.api.compat.dialect import errors_in
from app.api.compat.formats import AnswerFormat
from app.api.documentation import (
    BATCH_BODY,
    IMAGE_ERRORS,
    PREDICT_BODY,
    PREDICTION_EXAMPLES,
    REQUEST_ERRORS,
    problem_responses,
)
from app.api.guards import admit, authorise
from app.api.images import read_image, read_images
from app.api.options import Options
from app.api.problems import internal_error, problem
from app.api.schemas import BatchEntryError, BatchPrediction, ModelName, Prediction
from app.api.service import Engine, service_of
from app.domain import PredictOptions
from app.errors import ErrorCode, FerError


async def _authorise_here(request: Request) -> None:
    """`authorise` on the event loop: FastAPI runs plain functions in threads, which costs more than they do."""
    authorise(request)


router = APIRouter(tags=["predict"], dependencies=[Depends(_authorise_here), Depends(admit)])
# Answers in another service's form fail in its form too.
portrait_router = APIRouter(
    tags=["predict"],
    dependencies=[Depends(_authorise_here), Depends(admit)],
    route_class=errors_in(formats.dialect_of),
)


@portrait_router.post(
    "/predict",
    summary="One image in, its faces and emotions out",
    response_model=Prediction,
    responses={
        200: {"content": {"application/json": {"examples": PREDICTION_EXAMPLES | formats.EXAMPLES}}},
        **problem_responses(*REQUEST_ERRORS, *IMAGE_ERRORS),
    },
    openapi_extra=PREDICT_BODY,
)
async def predict(
    request: Request,
    options: Options,
    answer_format: Annotated[
        AnswerFormat, Query(alias="format", description="whose answer is wanted: see docs/migrating.md")
    ] = AnswerFormat.FER,
) -> Prediction | Response:
    """Send the image as a multipart part `file`, as base64 in JSON (`{"image": ...}`), or as the raw body."""
    formats.check(answer_format, request)
    engine = service_of(request).require_engine()
    data = await read_image(request)
    result = await engine.pipeline.predict(data, options, request.state.deadline)
    if answer_format is not AnswerFormat.FER:
        return formats.render(result, answer_format)
    return Prediction.of(result, ModelName.of(engine.manifest), request.state.request_id)


@router.post(
    "/predict/batch",
    summary="Many images in, one result or one error for each out",
    responses=problem_responses(*REQUEST_ERRORS, ErrorCode.TOO_MANY_IMAGES),
    openapi_extra=BATCH_BODY,
)
async def predict_batch(request: Request, options: Options) -> BatchPrediction:
    """Send repeated multipart parts `file`, or `{"images": ["<base64>", ...]}`. One bad image fails only its entry."""
    service = service_of(request)
    engine = service.require_engine()
    images = await read_images(request, service.settings.max_images)
    results = await asyncio.gather(*(_predict_entry(engine, data, options, request) for data in images))
    return BatchPrediction(results=results, model=ModelName.of(engine.manifest), request_id=request.state.request_id)


async def _predict_entry(
    engine: Engine, data: bytes | FerError, options: PredictOptions, request: Request
) -> Prediction | BatchEntryError:
    request_id: str = request.state.request_id
    try:
        if isinstance(data, FerError):
            raise data
        result = await engine.pipeline.predict(data, options, request.state.deadline)
        return Prediction.of(result, ModelName.of(engine.manifest), request_id)
    except FerError as error:
        failure = error
    except Exception as error:  # a fault of ours in one image must not take its neighbours with it
        failure = internal_error(error, request_id)
    service_of(request).metrics.rejections.labels(failure.code).inc()
    return BatchEntryError(error=problem(failure, request_id))
