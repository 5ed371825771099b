"""The composition root: it builds and connects every object of the service.

`create_app` builds the application for `python -m app`. The command line and the benchmarks build the same engine with
`build_engine`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import cv2
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from app.api.access_log import REQUEST_ID_HEADER
from app.api.admission import Admission
from app.api.documentation import TAGS, extend_openapi, operation_id
from app.api.middleware import RequestMiddleware
from app.api.problems import RETRY_AFTER_HEADER, install_problem_handlers
from app.api.routes import admin, info, page, predict, probes, stream
from app.api.service import Service
from app.compat import azure, deepface, inference_protocol, rekognition
from app.config import Settings, load_settings
from app.engine.engine import Engine
from app.engine.model import EngineConfig
from app.engine.readiness import Readiness, State
from app.engine.vision_stages import Detector
from app.inference.classifier import Classifier
from app.inference.face_verifier import FaceVerifier
from app.inference.session import EmotionSession
from app.observability.logging import configure_logging
from app.observability.metrics import Metrics
from app.observability.tracing import NoTracing, Tracing, load_tracing
from app.server.capacity import available_memory_bytes, log_capacity, plan_capacity
from app.server.connection_close import ConnectionCloseMiddleware
from app.server.cpus import available_cpus, lower_thread_priority
from app.vision.detection import FaceDetector
from app.vision.yunet import YuNetDetector

API_VERSION = "2.0.0"
_DESCRIPTION = (
    "Find the faces of a photograph and classify the apparent expression of each, with calibrated scores for seven"
    " emotions. The service describes what a face shows, not what a person feels."
)

# `app.observability.tracing` records requests. FastAPI's own telemetry would record them again, with exception texts.
_FASTAPI_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}

OnFatal = Callable[[Exception], None]


def create_app(
    settings: Settings,
    classifier: Classifier | None = None,
    detector: Detector | None = None,
    on_fatal: OnFatal = lambda error: None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Build the service.

    Args:
        settings: Settings of the operator.
        classifier: A ready model. None loads `settings.model` in the background when the application starts.
        detector: Face detector; None for the detector of the settings.
        on_fatal: Called when no model can be served any more, after the readiness has changed. `python -m app` ends
            the process.
        tracing: Recorder of traces; None records nothing.
    """
    service = _build_service(settings, detector, on_fatal, tracing or NoTracing())
    app = FastAPIOffline(
        title="fer-serve",
        version=API_VERSION,
        description=_DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the address of this instance, not of the proxy
        lifespan=_lifespan_of(service.engine, service.tracing, classifier),
        telemetry=_FASTAPI_TELEMETRY,
        generate_unique_id_function=operation_id,
        openapi_tags=TAGS,
    )
    app.state.service = service
    install_problem_handlers(app)
    for router in _routers(settings):
        app.include_router(router)
    extend_openapi(app)
    app.add_middleware(RequestMiddleware, service=service)
    if settings.cors_origins:
        _allow_origins(app, settings)
    app.add_middleware(ConnectionCloseMiddleware, readiness=service.readiness)
    return app


def create_app_from_env() -> FastAPI:
    """Build the service from the environment, for another ASGI server.

    For example `uvicorn --factory app.main:create_app_from_env`.
    `python -m app` also bounds request heads, delivers every last response, drains on SIGTERM, reloads on SIGHUP and
    tunes the allocator.

    Raises:
        SettingsError: An environment variable is unknown or has a bad value.
    """
    settings = load_settings(os.environ)
    configure_logging(settings.log_format, settings.log_level)
    return create_app(settings, tracing=load_tracing(settings, os.environ))


def build_engine(
    settings: Settings,
    *,
    readiness: Readiness | None = None,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    detector: Detector | None = None,
    on_fatal: OnFatal = lambda error: None,
    vision_threads: int | None = None,
    model_threads: int | None = None,
) -> Engine:
    """Build the engine of the service, the command line and the benchmarks. It serves after `Engine.start`.

    Args:
        settings: Settings of the operator.
        readiness: State of the instance; None for a new one.
        metrics: Collectors; None for new ones.
        tracing: Recorder of traces; None records nothing.
        detector: Face detector; None for the detector of the settings.
        on_fatal: Called when no model can be served any more.
        vision_threads: Threads for decoding and detection; None for those of the capacity.
        model_threads: Cores that one model run may use; None for all cores.

    Raises:
        ManifestError: The face verifier and its manifest do not fit each other or this service.
        SelfTestError: The face verifier does not reproduce its golden vectors.
        DetectorModelError: The model file of the detector cannot be used.
    """
    capacity = plan_capacity(settings, available_cpus(), available_memory_bytes())
    cv2.setNumThreads(1)  # images are processed in parallel, not the parts of one image
    config = EngineConfig(
        vision_threads=vision_threads or capacity.vision_threads,
        max_batch=settings.max_batch,
        max_pixels=settings.max_pixels,
        deadline_s=settings.deadline_ms / 1000,
        thread_initializer=lower_thread_priority,
    )
    return Engine(
        config,
        detector or load_detector(settings),
        lambda: open_session(settings, model_threads or capacity.cores),
        readiness or Readiness(),
        metrics or Metrics(),
        on_stage=(tracing or NoTracing()).stage,
        on_fatal=on_fatal,
    )


def load_detector(settings: Settings) -> Detector:
    """Load the face detector of the settings.

    Args:
        settings: Settings of the operator.

    Raises:
        DetectorModelError: The model file of YuNet is missing or is another file.
        ManifestError: The face verifier and its manifest do not fit each other or this service.
        SelfTestError: The face verifier does not reproduce its golden vectors.
    """
    if settings.detector == "yunet":
        assert settings.detector_model is not None  # noqa: S101  (`Settings` requires it)
        return YuNetDetector(settings.detector_model)
    return FaceDetector(FaceVerifier(settings.face_verifier))


def open_session(settings: Settings, threads: int) -> EmotionSession:
    """Load, verify, self-test and warm up the model of the settings.

    Args:
        settings: Settings of the operator.
        threads: Cores that one model run may use.

    Raises:
        ManifestError: The model file and its manifest do not fit each other or this service.
        DeviceError: The device cannot be used.
        SelfTestError: The model does not reproduce its golden vectors.
    """
    session = EmotionSession(settings.model, settings.device, threads)
    session.self_test()
    session.warm_up(settings.max_batch)
    return session


def _build_service(settings: Settings, detector: Detector | None, on_fatal: OnFatal, tracing: Tracing) -> Service:
    readiness, metrics = Readiness(), Metrics()
    capacity = plan_capacity(settings, available_cpus(), available_memory_bytes())
    log_capacity(capacity)
    engine = build_engine(
        settings, readiness=readiness, metrics=metrics, tracing=tracing, detector=detector, on_fatal=on_fatal
    )
    deadline_s = settings.deadline_ms / 1000
    admission = Admission(
        engine, settings.max_queue, deadline_s, settings.max_inflight_per_key, max_bytes=capacity.inflight_bytes
    )
    metrics.ready.set_function(lambda: readiness.state is State.READY)
    metrics.deadline_seconds.set(deadline_s)
    metrics.inflight_bytes.set_function(lambda: admission.held_bytes)
    metrics.inflight_bytes_limit.set(capacity.inflight_bytes)
    return Service(settings, metrics, readiness, tracing, engine, admission)


def _lifespan_of(
    engine: Engine, tracing: Tracing, classifier: Classifier | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        engine.start(classifier)
        try:
            yield
        finally:
            await engine.stop()
            await asyncio.to_thread(tracing.shutdown)

    return lifespan


def _allow_origins(app: FastAPI, settings: Settings) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[REQUEST_ID_HEADER, RETRY_AFTER_HEADER],
    )


def _routers(settings: Settings) -> list[APIRouter]:
    routers = [predict.router, stream.router, probes.router, info.router]
    if settings.web:
        routers.append(page.router)
    if settings.admin_keys:
        routers.append(admin.router)
    if settings.compat:
        routers += [deepface.router, rekognition.router, azure.router, *inference_protocol.ROUTERS]
    return routers
