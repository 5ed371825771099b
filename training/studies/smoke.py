"""Smoke test: every architecture through training, export and evaluation on generated images."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import ARCHITECTURES
from training.config import ModelConfig, OptimizerConfig, TrainConfig
from training.data.splits import Fer2013, Split, SplitData
from training.studies.compare import compare

_IMAGES = 70  # more than the largest batch of the parity check
_JOBS = 2  # half of the time is start-up, which uses one core
_IMAGENET_INPUT_SIZE_PX = 32  # the smallest input of the ImageNet networks


def smoke() -> None:
    """Train, export and measure every architecture.

    Raises:
        TrainingError: An architecture failed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fer-smoke-") as folder:
        configs = [_config(key) for key in ARCHITECTURES]
        compare(configs, generated_dataset(), Path(folder) / "runs", Path(folder) / "results", jobs=_JOBS)
    print(f"All {len(ARCHITECTURES)} architectures passed in {time.perf_counter() - started:.0f} s.")


def generated_dataset() -> Fer2013:
    """Return a dataset of 70 noise images per split, whose brightness encodes the label."""
    generator = np.random.default_rng(0)

    def split() -> SplitData:
        labels = np.arange(_IMAGES, dtype=np.int64) % len(LABELS)
        noise = generator.integers(0, 60, size=(_IMAGES, CROP_SIZE_PX, CROP_SIZE_PX, 1))
        images = (25 * labels[:, np.newaxis, np.newaxis, np.newaxis] + noise).astype(np.uint8)
        return SplitData(images, labels, tuple(f"{index:03d}" for index in range(_IMAGES)))

    return Fer2013({split_name: split() for split_name in Split}, "generated")


def _config(key: str) -> TrainConfig:
    needs_size = key in {"resnet50", "mobilenet_v2"}
    return TrainConfig(
        name=f"smoke_{key}",
        seed=0,
        epochs=1,
        batch_size=35,
        model=ModelConfig(architecture=key, input_size_px=_IMAGENET_INPUT_SIZE_PX if needs_size else None),
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )
