"""Worker that runs the pipeline of the service on one file after another."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from app.config import Settings
from app.domain import ImageResult, PredictOptions
from app.engine.pipeline import Detector, Pipeline
from app.engine.scheduler import Lanes
from app.errors import FerError
from app.inference.batcher import Batcher
from app.inference.classifier import Classifier
from app.inference.session import EmotionSession
from app.observability.metrics import Metrics
from app.vision.detection.detector import FaceDetector

_NO_DEADLINE = float("inf")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one file: a result, or the reason why there is none."""

    path: Path
    result: ImageResult | None = None
    failure: str = ""


class Worker:
    """Pipeline for files. Use it from one thread only, and close it.

    Args:
        settings: The settings of the service; its model, device and limits apply.
        options: Options for every image.
        threads: Number of threads for the network.
        classifier: A loaded model; None loads the model of the settings.
        detector: A face detector; None selects the Haar cascade.
    """

    def __init__(
        self,
        settings: Settings,
        options: PredictOptions,
        threads: int,
        classifier: Classifier | None = None,
        detector: Detector | None = None,
    ) -> None:
        cv2.setNumThreads(threads)
        classifier = classifier or _load(settings, threads)
        self._options = options
        self._vision = ThreadPoolExecutor(1, thread_name_prefix="vision")
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._batcher = Batcher(classifier.classify, max_batch=settings.max_batch, executor=self._inference)
        self._pipeline = Pipeline(
            detector or FaceDetector(),
            self._batcher,
            Lanes(self._vision, 1),
            Metrics(),
            settings.max_pixels,
            classifier.manifest.contract.temperature,
        )
        self._runner = asyncio.Runner()
        self._runner.run(self._start())

    def close(self) -> None:
        """Stop the threads of the pipeline."""
        self._runner.run(self._batcher.stop())
        self._runner.close()
        self._vision.shutdown()
        self._inference.shutdown()

    def predict(self, path: Path) -> Outcome:
        """Detect and classify the faces of one file. A bad file gives an outcome with a failure, not an exception."""
        try:
            data = path.read_bytes()
            return Outcome(path, self._runner.run(self._pipeline.predict(data, self._options, _NO_DEADLINE)))
        except FerError as error:
            return Outcome(path, failure=error.detail)
        except OSError as error:
            return Outcome(path, failure=f"cannot read the file: {error.strerror}")
        except Exception as error:  # one file must not stop the others
            _logger.debug("%s failed", path, exc_info=error)
            return Outcome(path, failure=f"internal error: {type(error).__name__}")

    async def _start(self) -> None:
        self._batcher.start()


def _load(settings: Settings, threads: int) -> Classifier:
    session = EmotionSession(settings.model, settings.device, threads)
    session.self_test()
    return session
