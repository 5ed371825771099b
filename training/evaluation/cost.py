"""Cost of serving a network: number of operations and measured latency."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import keras
import numpy as np

from app.contract.preprocess import CROP_SIZE_PX
from app.inference.session import open_session
from training.errors import TrainingError

_WARM_UP_RUNS = 20
_TIMED_RUNS = 100


def mflops(model: keras.Model) -> float:
    """Count millions of floating-point operations per face. One multiply-add counts as two operations.

    Args:
        model: Network with the input `image` uint8 (N, 48, 48, 1). Convolutions, matrix products and attention count.

    Raises:
        TrainingError: The Keras backend is not torch, which provides the counter.
    """
    if keras.config.backend() != "torch":
        raise TrainingError("counting operations needs KERAS_BACKEND=torch")
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(np.zeros((1, CROP_SIZE_PX, CROP_SIZE_PX, 1), np.uint8), training=False)
    return float(counter.get_total_flops()) / 1e6


def latency_ms(model_path: Path, batch: int = 1) -> float:
    """Measure the median milliseconds per face on one core, through a session as the service opens it.

    Args:
        model_path: ONNX file. A manifest is not needed.
        batch: Faces per run. The time of a run is divided by this number.
    """
    session = open_session(model_path, "cpu", threads=1)
    faces = np.random.default_rng(0).integers(0, 256, (batch, CROP_SIZE_PX, CROP_SIZE_PX, 1), np.uint8)
    times = []
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        started = time.perf_counter()
        session.run(None, {"image": faces})
        times.append(time.perf_counter() - started)
    return statistics.median(times[_WARM_UP_RUNS:]) / batch * 1e3
