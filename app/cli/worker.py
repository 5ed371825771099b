"""One process's share of the work: the service's own pipeline on a verified model, file by file."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2

from app.config import Settings
from app.domain import ImageResult, PredictOptions
from app.engine.vision_stages import Detector
from app.errors import FerError
from app.inference.classifier import Classifier
from app.main import build_engine

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
        self._options = options
        self._engine = build_engine(settings, detector=detector, vision_threads=1, model_threads=threads)
        cv2.setNumThreads(threads)  # one image at a time, so its parts are processed in parallel
        self._runner = asyncio.Runner()
        self._runner.run(self._start(classifier))

    def close(self) -> None:
        """End the threads of the engine."""
        self._runner.run(self._engine.stop())
        self._runner.close()

    def predict(self, path: Path) -> Outcome:
        """Finds and classifies the faces of one file; never raises for what is wrong with it."""
        try:
            data = path.read_bytes()
            return Outcome(path, self._runner.run(self._engine.predict(data, self._options, _NO_DEADLINE)))
        except FerError as error:
            return Outcome(path, failure=error.detail)
        except OSError as error:
            return Outcome(path, failure=f"cannot be read: {error.strerror}")
        except Exception as error:  # one file must not end the work on thousands
            _logger.debug("%s failed", path, exc_info=error)
            return Outcome(path, failure=f"failed inside the service: {type(error).__name__}")

    async def _start(self, classifier: Classifier | None) -> None:
        if classifier is None:
            await self._engine.load()
        else:
            self._engine.start(classifier)
