"""One process's share of the work: the service's own pipeline on a verified model, file by file."""

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
    """What became of one file: a result, or a sentence of why there is none."""

    path: Path
    result: ImageResult | None = None
    failure: str = ""


class Worker:
    """Predicts files one after another. Belongs to one thread; close it.

    Args:
        settings: The service's; its model, device and limits hold here too.
        options: What is asked for.
        threads: Cores that the network may use.
        classifier: A ready model; None loads the settings' own.
        detector: Finds faces; None for the Haar detector.
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
        """Ends the pipeline's threads."""
        self._runner.run(self._batcher.stop())
        self._runner.close()
        self._vision.shutdown()
        self._inference.shutdown()

    def predict(self, path: Path) -> Outcome:
        """Finds and classifies the faces of one file; never raises for what is wrong with it."""
        try:
            data = path.read_bytes()
            return Outcome(path, self._runner.run(self._pipeline.predict(data, self._options, _NO_DEADLINE)))
        except FerError as error:
            return Outcome(path, failure=error.detail)
        except OSError as error:
            return Outcome(path, failure=f"cannot be read: {error.strerror}")
        except Exception as error:  # one file must not end the work on thousands
            _logger.debug("%s failed", path, exc_info=error)
            return Outcome(path, failure=f"failed inside the service: {type(error).__name__}")

    async def _start(self) -> None:
        self._batcher.start()


def _load(settings: Settings, threads: int) -> Classifier:
    session = EmotionSession(settings.model, settings.device, threads)
    session.self_test()
    return session
