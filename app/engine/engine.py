"""The engine: the loaded model, its life cycle, and both queues in front of it.

A new model is loaded, verified and warmed beside the current one, which continues to serve. The swap is one assignment:
requests that started with the old model end with it. A model that is refused changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.contract.preprocess import GreyImage
from app.domain import ImageResult, PredictOptions
from app.engine.model import EngineConfig, ServingModel
from app.engine.pipeline import Logits, OnStage, Pipeline
from app.engine.readiness import Readiness
from app.engine.scheduler import FairScheduler
from app.engine.vision_stages import Detector
from app.engine.watchdog import HungError, watch
from app.errors import ErrorCode, FerError
from app.inference.batcher import Batcher, BatcherStoppedError
from app.inference.classifier import Classifier
from app.observability.metrics import Metrics

# No image and no batch takes several times as long as a whole request may; with the default deadline this is 30 s.
_HUNG_AFTER_DEADLINES = 6

_logger = logging.getLogger(__name__)


class Engine:
    """Predict images with the current model. Call all methods on one event loop.

    Args:
        config: Limits and threads.
        detector: Face detector.
        open_classifier: Loads, verifies and warms the model; runs in a thread.
        readiness: State of the instance; the engine updates it.
        metrics: Collectors.
        on_stage: See `Pipeline`.
        on_fatal: Called when no model can be served any more, after the readiness has changed.
    """

    def __init__(
        self,
        config: EngineConfig,
        detector: Detector,
        open_classifier: Callable[[], Classifier],
        readiness: Readiness,
        metrics: Metrics,
        *,
        on_stage: OnStage = lambda name, started, seconds: None,
        on_fatal: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._config = config
        self._detector = detector
        self._open_classifier = open_classifier
        self._readiness = readiness
        self._metrics = metrics
        self._on_stage = on_stage
        self._on_fatal = on_fatal
        self._model: ServingModel | None = None
        self._vision = ThreadPoolExecutor(
            config.vision_threads, thread_name_prefix="vision", initializer=config.thread_initializer
        )
        self._scheduler = FairScheduler(self._vision, config.vision_threads)
        metrics.vision_queue_depth.set_function(lambda: self._scheduler.depth)
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_loaded(self) -> bool:
        """True once a model has been loaded."""
        return self._model is not None

    @property
    def model(self) -> ServingModel:
        """The current model.

        Raises:
            FerError: `not_ready`: no model is loaded.
        """
        if self._model is None:
            raise FerError(ErrorCode.NOT_READY, f"the instance is not ready: {self._readiness.reason}")
        return self._model

    async def predict(
        self, data: bytes, options: PredictOptions, deadline: float, *, bulk: bool = False
    ) -> ImageResult:
        """Find and classify the faces of one image file with the current model; see `Pipeline.predict`."""
        return await self.model.pipeline.predict(data, options, deadline, bulk=bulk)

    def expected_wait_s(self, size_bytes: float, bulk: bool) -> float:
        """Estimate how long an image file of a size would wait in both queues, in seconds."""
        return self._scheduler.expected_wait_s(size_bytes, bulk) + self.model.batcher.expected_wait_s(bulk)

    def backlog_age_s(self, size_bytes: float, bulk: bool) -> float:
        """Return for how long the vision queue of a file size has not been empty, in seconds."""
        return self._scheduler.backlog_age_s(size_bytes, bulk)

    def start(self, classifier: Classifier | None = None) -> None:
        """Start the watchdog, and load the model in the background.

        Args:
            classifier: A ready model to serve at once instead.
        """
        self._run_in_background(self._watch())
        if classifier is not None:
            self._activate(classifier, self._inference_thread())
        else:
            self._run_in_background(self._load_or_fail())

    async def load(self) -> None:
        """Load the model and serve it.

        Raises:
            Exception: The model cannot be served; see `app.main.open_session`.
        """
        executor = self._inference_thread()
        try:
            classifier = await asyncio.get_running_loop().run_in_executor(executor, self._open_classifier)
        except Exception:
            executor.shutdown(wait=False)
            raise
        self._activate(classifier, executor)

    async def reload(self) -> ServingModel:
        """Load the model files again and replace the current model, unless the files are unchanged.

        Returns:
            The model that serves now.

        Raises:
            FerError: `model_refused`: the current model continues to serve, and the log has the reason;
                `reload_in_progress`; `not_ready`: no model serves yet.
        """
        current = self.model
        if self._reloading.locked():
            raise FerError(ErrorCode.RELOAD_IN_PROGRESS, "another reload is in progress; try again when it has ended")
        async with self._reloading:
            executor = self._inference_thread()
            try:
                classifier = await asyncio.get_running_loop().run_in_executor(executor, self._open_classifier)
            except Exception as error:
                executor.shutdown(wait=False)
                self._metrics.reloads("refused").inc()
                _logger.error("the new model was refused, the current model continues to serve: %s", error)
                raise FerError(
                    ErrorCode.MODEL_REFUSED,
                    "the new model was refused and the current model continues to serve; the log has the reason",
                ) from error
            if classifier.manifest == current.manifest:
                executor.shutdown(wait=False)
                self._metrics.reloads("unchanged").inc()
                _logger.info("the model files are unchanged, the current model continues to serve")
                return current
            self._activate(classifier, executor)
            self._metrics.reloads("replaced").inc()
        return self.model

    async def stop(self) -> None:
        """Stop the background tasks, the current model and all threads."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._model is not None:
            await self._model.stop()
        self._vision.shutdown(wait=False, cancel_futures=True)

    async def _load_or_fail(self) -> None:
        try:
            await self.load()
        except Exception as error:
            self._fail("the model cannot be served; the log has the reason", error)

    async def _watch(self) -> None:
        def oldest_work() -> tuple[object | None, object | None]:
            return self._scheduler.oldest, self._model.batcher.running if self._model is not None else None

        try:
            await watch(oldest_work, self._config.deadline_s * _HUNG_AFTER_DEADLINES)
        except HungError as error:
            self._fail(str(error), error)

    def _activate(self, classifier: Classifier, executor: ThreadPoolExecutor) -> None:
        """Make a loaded model the current model, and retire the previous one."""
        previous = self._model
        self._model = model = self._serving_model(classifier, executor)
        contract = classifier.manifest.contract
        self._metrics.queue_depth.set_function(lambda: model.batcher.depth)
        self._metrics.model_info.clear()
        self._metrics.model_info.labels(
            contract.name, contract.version, classifier.manifest.sha256, classifier.provider
        ).set(1)
        self._readiness.loaded()
        _logger.info("serving %s %s on %s", contract.name, contract.version, classifier.provider)
        if previous is not None:
            self._run_in_background(self._retire(previous))

    def _serving_model(self, classifier: Classifier, executor: ThreadPoolExecutor) -> ServingModel:
        batcher: Batcher[GreyImage, Logits] = Batcher(
            classifier.classify,
            max_batch=self._config.max_batch,
            executor=executor,
            on_batch=self._metrics.batch_size.observe,
            on_success=self._readiness.run_succeeded,
            on_failure=self._readiness.run_failed,
            on_death=self._batcher_died,
        )
        batcher.start()
        pipeline = Pipeline(
            self._detector,
            batcher,
            self._scheduler,
            self._metrics,
            self._config.max_pixels,
            classifier.manifest,
            self._on_stage,
        )
        return ServingModel(classifier.manifest, classifier.provider, pipeline, batcher, executor)

    async def _retire(self, model: ServingModel) -> None:
        """Stop a replaced model after the deadline of the last request that started with it."""
        try:
            await asyncio.sleep(self._config.deadline_s)
        finally:
            await model.stop()

    def _batcher_died(self) -> None:
        error = BatcherStoppedError("the batch loop died")
        self._fail(str(error), error)

    def _fail(self, reason: str, error: Exception) -> None:
        """Declare the instance unhealthy for good, and report the failure."""
        self._readiness.broken(reason)
        _logger.critical("this instance cannot serve: %s", error)
        self._on_fatal(error)

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the event loop keeps weak references only
        task.add_done_callback(self._tasks.discard)

    def _inference_thread(self) -> ThreadPoolExecutor:
        """Return the thread of one model. ONNX Runtime creates its own threads in it, with its priority."""
        return ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=self._config.thread_initializer)
