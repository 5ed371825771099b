"""The model at work, and the way from one model to the next without a failed request.

A new model is verified and warmed beside the old one, which serves on meanwhile; then the engine is swapped in one
step. Requests that began with the old one end with it. A model that is refused changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from app.api.service import Engine, Service
from app.engine.pipeline import Detector, Pipeline
from app.engine.scheduler import Lanes
from app.errors import ErrorCode, FerError
from app.inference.batcher import Batcher, BatcherStoppedError
from app.inference.classifier import Classifier
from app.server.cpus import go_behind_the_event_loop

_logger = logging.getLogger(__name__)


class Rollout:
    """Puts models to work, one after the other. All methods are called on the event loop.

    Args:
        service: Gets the engine, and tells readiness and metrics.
        detector: Finds faces, for every model.
        vision: Threads for decoding and detection, for every model.
        open_classifier: Loads, verifies and warms the model that the settings name; called in a thread.
        on_fatal: Told when the model at work cannot be run any more, after readiness says so.
    """

    def __init__(
        self,
        service: Service,
        detector: Detector,
        vision: Lanes,
        open_classifier: Callable[[], Classifier],
        on_fatal: Callable[[Exception], None] | None = None,
    ) -> None:
        self._service = service
        self._detector = detector
        self._vision = vision
        self._open_classifier = open_classifier
        self._on_fatal = on_fatal
        self._batcher: Batcher | None = None  # type: ignore[type-arg]
        self._executor: ThreadPoolExecutor | None = None
        self._replacing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Loads the first model and declares the instance ready.

        Raises:
            Exception: The model cannot be served.
        """
        executor = _inference_thread()
        self.begin(await asyncio.get_running_loop().run_in_executor(executor, self._open_classifier), executor)

    def begin(self, classifier: Classifier, executor: ThreadPoolExecutor | None = None) -> None:
        """Puts a loaded model to work in place of the one before, if any.

        Args:
            classifier: Verified and warm.
            executor: The one thread that runs it; None makes one.
        """
        service, readiness, metrics = self._service, self._service.readiness, self._service.metrics
        previous = service.engine, self._batcher, self._executor
        executor = executor or _inference_thread()
        batcher = Batcher(
            classifier.classify,
            max_batch=service.settings.max_batch,
            executor=executor,
            on_batch=metrics.batch_size.observe,
            on_success=readiness.run_succeeded,
            on_failure=readiness.run_failed,
            on_death=self._on_death,
        )
        batcher.start()
        self._batcher, self._executor = batcher, executor
        metrics.queue_depth.set_function(lambda: batcher.depth)
        manifest = classifier.manifest
        contract = manifest.contract
        pipeline = Pipeline(
            self._detector,
            batcher,
            self._vision,
            metrics,
            service.settings.max_pixels,
            contract.temperature,
            service.tracing.stage,
        )
        service.engine = Engine(manifest, classifier.provider, pipeline)
        metrics.model_info.clear()
        metrics.model_info.labels(contract.name, contract.version, manifest.sha256, classifier.provider).set(1)
        readiness.loaded()
        _logger.info("serving %s %s on %s", contract.name, contract.version, classifier.provider)
        self._retire_later(*previous)

    async def replace(self) -> Engine:
        """Loads the model files anew and swaps them in; the files that serve already are left as they are.

        Returns:
            The engine that serves now.

        Raises:
            FerError: `model_refused`, the old model serves on and the log says why; `reload_in_progress`; `not_ready`,
                no model serves yet.
        """
        serving = self._service.require_engine()
        if self._replacing.locked():
            raise FerError(ErrorCode.RELOAD_IN_PROGRESS, "another reload is under way; ask again when it has ended")
        async with self._replacing:
            executor = _inference_thread()
            try:
                classifier = await asyncio.get_running_loop().run_in_executor(executor, self._open_classifier)
            except Exception as error:
                executor.shutdown(wait=False)
                self._service.metrics.reloads("refused").inc()
                _logger.error("the new model was refused, the old one serves on: %s", error)
                raise FerError(
                    ErrorCode.MODEL_REFUSED, "the new model was refused and the old one serves on; the log says why"
                ) from error
            if classifier.manifest == serving.manifest:
                executor.shutdown(wait=False)
                self._service.metrics.reloads("unchanged").inc()
                return serving
            self.begin(classifier, executor)
            self._service.metrics.reloads("replaced").inc()
        return self._service.require_engine()

    async def end(self) -> None:
        """Stops everything that runs."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._batcher is not None:
            await self._batcher.stop()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _on_death(self) -> None:
        error = BatcherStoppedError("the batch loop died")
        self._service.readiness.broken(str(error))
        if self._on_fatal is not None:
            self._on_fatal(error)

    def _retire_later(
        self,
        engine: Engine | None,
        batcher: Batcher | None,  # type: ignore[type-arg]
        executor: ThreadPoolExecutor | None,
    ) -> None:
        if engine is None or batcher is None or executor is None:
            return
        task = asyncio.create_task(self._retire(batcher, executor))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, batcher: Batcher, executor: ThreadPoolExecutor) -> None:  # type: ignore[type-arg]
        """Stops an old model after the deadline of the last request that began with it."""
        try:
            await asyncio.sleep(self._service.settings.deadline_ms / 1000)
        finally:
            await batcher.stop()
            executor.shutdown(wait=False, cancel_futures=True)


def _inference_thread() -> ThreadPoolExecutor:
    """The thread that runs a model. ONNX Runtime's own threads are made in it, and have its priority."""
    return ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=go_behind_the_event_loop)
