"""Builds and wires every object of the service. No logic of its own.

`create_app` is the one factory; `python -m app` runs it (see `app.__main__`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import cv2
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from app.api.access_log import REQUEST_ID_HEADER
from app.api.documentation import document_keys
from app.api.middleware import RequestMiddleware
from app.api.problems import install_problem_handlers
from app.api.routes import admin, info, page, predict, probes, stream
from app.api.service import Service
from app.compat import azure, deepface, inference_protocol, rekognition
from app.config import Settings
from app.engine.lifecycle import Rollout
from app.engine.pipeline import Detector
from app.engine.readiness import Readiness, State
from app.engine.scheduler import Lanes
from app.engine.watchdog import HungError, watch
from app.inference.classifier import Classifier
from app.inference.session import EmotionSession
from app.observability.metrics import Metrics
from app.observability.tracing import NoTracing, Tracing
from app.server.cpus import HomeCores, available_cpus, go_behind_the_event_loop
from app.vision.detection.detector import FaceDetector

API_VERSION = "1.0.0"
# No image and no batch takes several times as long as a whole request may; at the default deadline this is 30 s.
_HUNG_AFTER_DEADLINES = 6
_DESCRIPTION = (
    "Finds the faces of a photograph and gives the apparent expression of each, with calibrated scores for seven"
    " emotions. It describes what a face shows, not what a person feels."
)

# `app.observability.tracing` records requests. FastAPI's own telemetry would record them again, with exception texts.
_FASTAPIS_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}

_logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    classifier: Classifier | None = None,
    detector: Detector | None = None,
    on_fatal: Callable[[Exception], None] | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Builds the service.

    Args:
        settings: As the operator chose.
        classifier: A ready model; None loads `settings.model` in the background once the service is up.
        detector: Finds faces; None for the Haar detector.
        on_fatal: Told when the model cannot be served any more, after readiness says so; ends the process in
            `python -m app`.
        tracing: Records requests and their stages; None records nothing.
    """
    service = Service(settings, Metrics(), Readiness(), tracing or NoTracing())
    service.metrics.ready.set_function(lambda: service.readiness.state is State.READY)
    service.metrics.deadline_seconds.set(settings.deadline_ms / 1000)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cpus = available_cpus()
        cv2.setNumThreads(1)  # parallel over images, not inside one: the vision threads below
        vision, lanes = open_vision(cpus)
        rollout = Rollout(service, detector or FaceDetector(), lanes, lambda: open_session(settings, cpus), on_fatal)
        service.reload = rollout.replace
        watching = asyncio.create_task(_watch(service, on_fatal))
        loading: asyncio.Task[None] | None = None
        if classifier is not None:
            rollout.begin(classifier)
        else:
            loading = asyncio.create_task(_load(rollout, service, on_fatal))
        try:
            yield
        finally:
            watching.cancel()
            if loading is not None:
                loading.cancel()
            await rollout.end()
            vision.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(service.tracing.shutdown)

    app = FastAPIOffline(
        title="fer-serve",
        version=API_VERSION,
        description=_DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,  # to an absolute address, which behind a proxy is not the caller's
        lifespan=lifespan,
        telemetry=_FASTAPIS_TELEMETRY,
    )
    app.state.service = service
    install_problem_handlers(app)
    # The busiest route: first, and not within an included router, which FastAPI would match once more in each request.
    app.router.routes[:0] = predict.portrait_router.routes
    routers: list[APIRouter] = [
        predict.router,
        stream.router,
        probes.router,
        info.router,
        *([page.router] if settings.web else []),
        *([admin.router] if settings.admin_keys else []),
    ]
    if settings.compat:
        routers += [deepface.router, rekognition.router, azure.router, *inference_protocol.ROUTERS]
    for router in routers:
        app.include_router(router)
    document_keys(app)
    app.add_middleware(RequestMiddleware, service=service)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER],
        )
    return app


def open_vision(cpus: int) -> tuple[ThreadPoolExecutor, Lanes]:
    """The vision threads, one for each core, and the lanes in which images wait for them."""
    threads = ThreadPoolExecutor(cpus, thread_name_prefix="vision", initializer=go_behind_the_event_loop)
    return threads, Lanes(threads, cpus, HomeCores(cpus).settle)


def open_session(settings: Settings, cpus: int) -> EmotionSession:
    """The model that the settings name, verified, self-tested and warm."""
    session = EmotionSession(settings.model, settings.device, cpus)
    session.self_test()
    session.warm_up(settings.max_batch)
    return session


async def _load(rollout: Rollout, service: Service, on_fatal: Callable[[Exception], None] | None) -> None:
    try:
        await rollout.load()
    except Exception as error:
        service.readiness.broken("the model cannot be served; the log says why")
        _logger.critical("cannot serve the model: %s", error)
        if on_fatal is not None:
            on_fatal(error)


async def _watch(service: Service, on_fatal: Callable[[Exception], None] | None) -> None:
    def oldest_work() -> tuple[object | None, object | None]:
        return (None, None) if service.engine is None else service.engine.pipeline.oldest_work

    try:
        await watch(oldest_work, service.settings.deadline_ms / 1000 * _HUNG_AFTER_DEADLINES)
    except HungError as error:
        service.readiness.broken(str(error))
        _logger.critical("%s; only a new process helps", error)
        if on_fatal is not None:
            on_fatal(error)
