"""`POST /predict` and `POST /predict/batch`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from app.api.documentation import (
    IMAGE_ERRORS,
    REQUEST_ERRORS,
    batch_body,
    batch_form_body,
    example_batch,
    example_response,
    predict_body,
    predict_form_body,
    problem_responses,
)
from app.api.options import OptionsQuery
from app.api.parsing.images import read_image, read_images
from app.api.permits import ADMIT
from app.api.problems import internal_error, problem
from app.api.schemas import examples
from app.api.schemas.base import ModelName
from app.api.schemas.prediction import BatchEntryError, BatchPrediction, Prediction
from app.api.service import service_of
from app.domain import PredictOptions
from app.engine.model import ServingModel
from app.errors import ErrorCode, FerError

router = APIRouter(tags=["predict"], dependencies=[ADMIT])

Options = Annotated[OptionsQuery, Query()]


_PREDICT_RESPONSES = example_response(examples.PREDICTION) | problem_responses(
    *REQUEST_ERRORS, *IMAGE_ERRORS, ErrorCode.TOO_MANY_IMAGES
)
_BATCH_RESPONSES = example_response(example_batch()) | problem_responses(*REQUEST_ERRORS, ErrorCode.TOO_MANY_IMAGES)


# A generator of clients that supports one media type for each operation finds the forms at paths of their own.
@router.post(
    "/predict/form",
    summary="Predict one image in a form: `/predict` for generated clients",
    description="Send the image as a multipart part `file`.",
    name="predict_form",
    responses=_PREDICT_RESPONSES,
    openapi_extra=predict_form_body(),
)
@router.post(
    "/predict",
    summary="Find the faces of one image and classify their expressions",
    responses=_PREDICT_RESPONSES,
    openapi_extra=predict_body(),
)
async def predict(request: Request, query: Options) -> Prediction:
    """Send the image as a multipart part `file`, as base64 in JSON (`{"image": ...}`), or as the raw body."""
    received = await read_image(request)
    options = query.predict_options(received.options)
    result = await service_of(request).engine.predict(
        received.image, options, request.state.deadline, bulk=request.state.bulk
    )
    return Prediction.of(result, request.state.request_id)


@router.post(
    "/predict/batch/form",
    summary="Predict many images in a form: `/predict/batch` for generated clients",
    description="Send repeated multipart parts `file`. A bad image fails only its entry.",
    name="predict_batch_form",
    responses=_BATCH_RESPONSES,
    openapi_extra=batch_form_body(),
)
@router.post(
    "/predict/batch",
    summary="Predict many images: one result or one error for each",
    responses=_BATCH_RESPONSES,
    openapi_extra=batch_body(),
)
async def predict_batch(request: Request, query: Options) -> BatchPrediction:
    """Send repeated multipart parts `file`, or `{"images": ["<base64>", ...]}`. A bad image fails only its entry."""
    service = service_of(request)
    received = await read_images(request, service.settings.max_images)
    options = query.predict_options(received.options)
    model = service.engine.model
    results = await asyncio.gather(*(_predict_entry(model, data, options, request) for data in received.images))
    return BatchPrediction(
        results=results, model=ModelName.of_manifest(model.manifest), request_id=request.state.request_id
    )


async def _predict_entry(
    model: ServingModel, data: bytes | FerError, options: PredictOptions, request: Request
) -> Prediction | BatchEntryError:
    if isinstance(data, FerError):
        return _failed(data, request)
    request_id: str = request.state.request_id
    try:
        result = await model.pipeline.predict(data, options, request.state.deadline, bulk=request.state.bulk)
        return Prediction.of(result, request_id)
    except FerError as error:
        return _failed(error, request)
    except Exception as error:  # an internal error of one image must not fail the other entries
        return _failed(internal_error(error, request_id), request)


def _failed(error: FerError, request: Request) -> BatchEntryError:
    service_of(request).metrics.rejections(error.code).inc()
    return BatchEntryError(error=problem(error, request.state.request_id))
