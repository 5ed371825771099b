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
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from app.api.compat import azure, deepface, inference_protocol, rekognition
from app.api.middleware import REQUEST_ID_HEADER, RequestMiddleware
from app.api.problems import install_problem_handlers
from app.api.routes import info, predict, probes
from app.api.service import Engine, Service
from app.config import Settings
from app.cpus import available_cpus
from app.inference.batcher import Batcher
from app.inference.classifier import Classifier
from app.inference.readiness import Readiness
from app.inference.session import EmotionSession
from app.metrics import Metrics
from app.pipeline import Detector, Pipeline
from app.tracing import NoTracing, Tracing
from app.vision.detect import FaceDetector

API_VERSION = "1.0.0"
_DESCRIPTION = (
    "Finds the faces of a photograph and gives the apparent expression of each, with calibrated scores for seven"
    " emotions. It describes what a face shows, not what a person feels."
)

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
        on_fatal: Told when the model cannot be served, after readiness says so; ends the process in `python -m app`.
        tracing: Records requests and their stages; None records nothing.
    """
    service = Service(settings, Metrics(), Readiness(), tracing or NoTracing())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cpus = available_cpus()
        cv2.setNumThreads(1)  # parallel over images, not inside one: the vision threads below
        vision = ThreadPoolExecutor(cpus, thread_name_prefix="vision")
        inference = ThreadPoolExecutor(1, thread_name_prefix="inference")
        parts = _Parts(service, detector or FaceDetector(), vision, inference)
        loading: asyncio.Task[None] | None = None
        if classifier is not None:
            parts.begin(classifier)
        else:
            loading = asyncio.create_task(_load(parts, cpus, on_fatal))
        try:
            yield
        finally:
            if loading is not None:
                loading.cancel()
            await parts.end()
            vision.shutdown(wait=False, cancel_futures=True)
            inference.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(service.tracing.shutdown)

    app = FastAPIOffline(
        title="fer-serve", version=API_VERSION, description=_DESCRIPTION, redoc_url=None, lifespan=lifespan
    )
    app.state.service = service
    install_problem_handlers(app)
    for router in (predict.portrait_router, predict.router, probes.router, info.router):
        app.include_router(router)
    if settings.compat:
        for router in (deepface.router, rekognition.router, azure.router, *inference_protocol.ROUTERS):
            app.include_router(router)
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


class _Parts:
    """What lives between start-up and shutdown."""

    def __init__(
        self, service: Service, detector: Detector, vision: ThreadPoolExecutor, inference: ThreadPoolExecutor
    ) -> None:
        self.service = service
        self.inference = inference
        self._detector = detector
        self._vision = vision
        self._batcher: Batcher | None = None  # type: ignore[type-arg]

    def begin(self, classifier: Classifier) -> None:
        """Puts a loaded model to work and declares the instance ready."""
        service, readiness, metrics = self.service, self.service.readiness, self.service.metrics
        self._batcher = batcher = Batcher(
            classifier.classify,
            max_batch=service.settings.max_batch,
            executor=self.inference,
            on_batch=metrics.batch_size.observe,
            on_success=readiness.run_succeeded,
            on_failure=readiness.run_failed,
            on_death=lambda: readiness.broken("the batch loop died"),
        )
        batcher.start()
        metrics.queue_depth.set_function(lambda: batcher.depth)
        manifest = classifier.manifest
        pipeline = Pipeline(
            self._detector,
            batcher,
            self._vision,
            metrics,
            service.settings.max_pixels,
            manifest.contract.temperature,
            service.tracing.stage,
        )
        service.engine = Engine(manifest, classifier.provider, pipeline)
        contract = manifest.contract
        metrics.model_info.labels(contract.name, contract.version, manifest.sha256, classifier.provider).set(1)
        readiness.loaded()
        _logger.info("serving %s %s on %s", contract.name, contract.version, classifier.provider)

    async def end(self) -> None:
        """Stops the batcher."""
        if self._batcher is not None:
            await self._batcher.stop()


async def _load(parts: _Parts, cpus: int, on_fatal: Callable[[Exception], None] | None) -> None:
    settings, loop = parts.service.settings, asyncio.get_running_loop()

    def open_session() -> EmotionSession:
        session = EmotionSession(settings.model, settings.device, cpus)
        session.self_test()
        session.warm_up(settings.max_batch)
        return session

    try:
        parts.begin(await loop.run_in_executor(parts.inference, open_session))
    except Exception as error:
        parts.service.readiness.broken("the model cannot be served; the log says why")
        _logger.critical("cannot serve the model: %s", error)
        if on_fatal is not None:
            on_fatal(error)
