"""Distillation: the predictions of finished runs are part of the targets.

Reference:
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Furlanello et al., "Born Again Neural
    Networks", 2018 (distillation from a run of the same network).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.scores import probabilities
from training.architectures.heads import Head
from training.evaluation.test_time_augmentation import augmented_copies
from training.fit.parent_runs import load_trained, weights_sha256

_BATCH = 256


def distillation_targets(
    targets: npt.NDArray[np.float32],
    images: npt.NDArray[np.uint8],
    runs: Sequence[Path],
    share: float,
    cache: Path,
) -> npt.NDArray[np.float32]:
    """Blend targets with the mean prediction of finished runs for the unchanged images and their mirror images.

    Args:
        targets: float32 (N, 7), from the labels; rows sum to 1.
        images: uint8 (N, 48, 48, 1).
        runs: Folders of finished runs; only the original labels' head of each is used.
        share: Weight of the predictions, 0 to 1.
        cache: File for the predictions, which take minutes. A resumed run reads them from it.

    Returns:
        float32 (N, 7); rows sum to 1.

    Raises:
        TrainingError: A run is not finished.
    """
    inputs = " ".join([*weights_sha256(runs).values(), hashlib.sha256(images.tobytes()).hexdigest()])
    predictions = _read_cache(cache, inputs)
    if predictions is None:
        predictions = np.mean([_predict(path, images) for path in runs], axis=0)
        unfinished = cache.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez(file, inputs=np.array(inputs), predictions=predictions)
        unfinished.replace(cache)
    return ((1 - share) * targets + share * predictions).astype(np.float32)


def _read_cache(cache: Path, inputs: str) -> npt.NDArray[np.float64] | None:
    """Return the cached predictions; None if the file is missing, damaged or of other inputs."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return saved["predictions"] if str(saved["inputs"]) == inputs else None
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError):
        return None


def _predict(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    # Computed in the precision of the run that is trained: the rounding errors of bfloat16 are small against the errors
    # of the network.
    model = load_trained(path)
    of_copies = [
        probabilities(model.predict(copies, batch_size=_BATCH, verbose=0)[Head.ORIGINAL.value], 1.0)
        for copies in augmented_copies(images, "flip")
    ]
    mean: npt.NDArray[np.float64] = np.mean(of_copies, axis=0)
    return mean
