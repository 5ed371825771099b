"""`POST /predict` and `POST /predict/batch`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.documentation import (
    BATCH_BODY,
    IMAGE_ERRORS,
    PREDICT_BODY,
    PREDICTION_EXAMPLES,
    REQUEST_ERRORS,
    example_answer,
    example_batch,
    problem_responses,
)
from app.api.guards import admitted
from app.api.images import read_image, read_images
from app.api.options import OptionsQuery, query_parameters, read_query
from app.api.plain import PlainRoute
from app.api.problems import internal_error, problem
from app.api.schemas import BatchEntryError, BatchPrediction, ModelName, Prediction
from app.api.service import Engine, service_of
from app.domain import PredictOptions
from app.errors import ErrorCode, FerError

router = APIRouter(tags=["predict"])
portrait_router = APIRouter(tags=["predict"], route_class=PlainRoute)


@portrait_router.post(
    "/predict",
    summary="One image in, its faces and emotions out",
    response_model=Prediction,
    responses={
        200: {"content": {"application/json": {"examples": PREDICTION_EXAMPLES}}},
        **problem_responses(*REQUEST_ERRORS, *IMAGE_ERRORS, ErrorCode.TOO_MANY_IMAGES),
    },
    openapi_extra=PREDICT_BODY | query_parameters(OptionsQuery),
)
async def predict(request: Request) -> Response:
    """Send the image as a multipart part `file`, as base64 in JSON (`{"image": ...}`), or as the raw body."""
    with admitted(request) as engine:
        options = read_query(request, OptionsQuery).options
        data = await read_image(request)
        result = await engine.pipeline.predict(data, options, request.state.deadline)
    answer = Prediction.of(result, ModelName.of(engine.manifest), request.state.request_id)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post(
    "/predict/batch",
    summary="Many images in, one result or one error for each out",
    response_model=BatchPrediction,
    responses=example_answer(example_batch()) | problem_responses(*REQUEST_ERRORS, ErrorCode.TOO_MANY_IMAGES),
    openapi_extra=BATCH_BODY | query_parameters(OptionsQuery),
)
async def predict_batch(request: Request) -> Response:
    """Send repeated multipart parts `file`, or `{"images": ["<base64>", ...]}`. One bad image fails only its entry."""
    with admitted(request) as engine:
        options = read_query(request, OptionsQuery).options
        images = await read_images(request, service_of(request).settings.max_images)
        results = await asyncio.gather(*(_predict_entry(engine, data, options, request) for data in images))
    answer = BatchPrediction(results=results, model=ModelName.of(engine.manifest), request_id=request.state.request_id)
    return Response(answer.model_dump_json(), media_type="application/json")


async def _predict_entry(
    engine: Engine, data: bytes | FerError, options: PredictOptions, request: Request
) -> Prediction | BatchEntryError:
    # An error kept under a name would know this call by its traceback, and the call the error: neither it nor the
    # images of the request would be freed before Python's collector comes by.
    if isinstance(data, FerError):
        return _failed(data, request)
    request_id: str = request.state.request_id
    try:
        result = await engine.pipeline.predict(data, options, request.state.deadline)
        return Prediction.of(result, ModelName.of(engine.manifest), request_id)
    except FerError as error:
        return _failed(error, request)
    except Exception as error:  # a fault of ours in one image must not take its neighbours with it
        return _failed(internal_error(error, request_id), request)


def _failed(error: FerError, request: Request) -> BatchEntryError:
    service_of(request).metrics.rejections(error.code).inc()
    return BatchEntryError(error=problem(error, request.state.request_id))
