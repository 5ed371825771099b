"""Worker that runs the pipeline of the service on one file after another."""

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
    """Outcome of one file: a result, or the reason why there is none."""

    path: Path
    result: ImageResult | None = None
    failure: str = ""


class Worker:
    """Engine for files. Use it from one thread only, and close it.

    Args:
        settings: The settings of the service; its model, device and limits apply.
        options: Options for each image.
        threads: Number of threads for the network.
        classifier: A loaded model; None loads the model of the settings.
        detector: A face detector; None for the detector of the settings.
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
        """Stop the threads of the engine."""
        self._runner.run(self._engine.stop())
        self._runner.close()

    def predict(self, path: Path) -> Outcome:
        """Detect and classify the faces of one file. A bad file gives an outcome with a failure, not an exception."""
        try:
            data = path.read_bytes()
        except OSError as error:
            return Outcome(path, failure=f"cannot read the file: {error.strerror}")
        return self.predict_image(path, data)

    def predict_image(self, path: Path, data: bytes) -> Outcome:
        """Detect and classify the faces of one image. A bad image gives an outcome with a failure.

        Args:
            path: The file of the image or of its video.
            data: The image file.
        """
        try:
            return Outcome(path, self._runner.run(self._engine.predict(data, self._options, _NO_DEADLINE)))
        except FerError as error:
            return Outcome(path, failure=error.detail)
        except Exception as error:  # one file must not stop the others
            _logger.debug("%s failed", path, exc_info=error)
            return Outcome(path, failure=f"internal error: {type(error).__name__}")

    async def _start(self, classifier: Classifier | None) -> None:
        if classifier is None:
            await self._engine.load()
        else:
            self._engine.start(classifier)
