"""What the engine is configured with, and what it holds for each loaded model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.contract.manifest import Manifest
from app.contract.preprocess import GreyImage
from app.engine.pipeline import Logits, Pipeline
from app.inference.batcher import Batcher


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The part of the settings that the engine needs.

    Attributes:
        vision_threads: Threads for decoding and detection.
        max_batch: Largest number of faces in one model run.
        max_pixels: Largest image to decode.
        deadline_s: Longest time from admission to the response, in seconds.
        thread_initializer: Function that each vision thread and inference thread calls first.
    """

    vision_threads: int
    max_batch: int
    max_pixels: int
    deadline_s: float
    thread_initializer: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A loaded model and the objects that run it.

    Attributes:
        manifest: Manifest of the model file.
        provider: Execution provider in use, by ONNX Runtime's name.
        pipeline: Predicts images with this model.
        batcher: Queue of faces in front of the model.
        executor: The one thread that runs the model.
    """

    manifest: Manifest
    provider: str
    pipeline: Pipeline
    batcher: Batcher[GreyImage, Logits]
    executor: ThreadPoolExecutor

    async def stop(self) -> None:
        """Fail the faces that wait for the model, and end its thread."""
        await self.batcher.stop()
        self.executor.shutdown(wait=False, cancel_futures=True)
