"""Time of a training step with teachers or with two gradient passes, relative to a plain step of the same recipe.

The kinds of steps alternate in one process, so that other work on the machine affects all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.architectures.heads import Head
from training.config import DistillationConfig, SharpnessAwareConfig, TrainConfig
from training.data.batches import BatchDrawer
from training.fit.backend import prepare_backend
from training.fit.compiling import compile_model
from training.fit.distillation import ConsistentTeachers
from training.fit.precision import choose_precision, detect_bfloat16
from training.fit.sharpness import SharpnessAware


def step_costs(config: TrainConfig, teachers: Sequence[Path], rounds: int) -> Mapping[str, float]:
    """Measure the kinds of steps on random images, at the size of the last epoch.

    Args:
        config: The recipe; its own distillation and annotators' head are left out.
        teachers: Run folders or ONNX files. All of them predict every batch.
        rounds: Number of steps of each kind; the first one is not counted.

    Returns:
        Median seconds of the parts of a step: `augmentation`, `plain`, `teachers`, `sharpness-aware`.

    Raises:
        TrainingError: A teacher is not finished or does not exist.
    """
    plain = config.model_copy(update={"distillation": None, "annotator_votes": None})
    prepare_backend(choose_precision(config.precision, None, detect_bfloat16())[0], config.seed)
    model = compile_model(plain, steps_per_epoch=rounds)
    sharpness = SharpnessAware(model, config.sharpness_aware or SharpnessAwareConfig(last_epochs=1))
    distillation = ConsistentTeachers(DistillationConfig(runs=tuple(teachers), images="augmented"))
    generator = np.random.default_rng(config.seed)
    shape = (config.batch_size, CROP_SIZE_PX, CROP_SIZE_PX, 1)
    drawer = BatchDrawer(generator.integers(0, 256, size=shape, dtype=np.uint8), plain)
    head, order = Head.ORIGINAL.value, np.arange(config.batch_size)
    labels = np.eye(len(LABELS), dtype=np.float32)[order % len(LABELS)]
    weights = {head: np.ones(config.batch_size, np.float32)}
    (batch,) = drawer.batches(order, config.epochs - 1, 1)
    parts: dict[str, Callable[[], object]] = {
        "augmentation": lambda: list(drawer.batches(order, config.epochs - 1, 1)),
        "plain": lambda: model.train_on_batch(batch.images, {head: labels}, sample_weight=weights),
        "teachers": lambda: distillation.blend(labels, batch.images),
        "sharpness-aware": lambda: sharpness.train_on_batch(batch.images, {head: labels}, weights),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
