"""Distillation: the predictions of finished networks are part of the targets.

Either they predict the unchanged images once, or every batch as the student sees it, augmented and mixed: then teacher
and student compute the same function of the same picture.

Reference:
    Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2021;
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Furlanello et al., "Born Again Neural
    Networks", 2018 (distillation from a run of the same network).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.preprocess import CROP_SIZE_PX
from training.config import DistillationConfig
from training.data.augment import resize_batch
from training.evaluation.test_time_augmentation import augmented_copies
from training.files import DAMAGED_ARRAYS, write_arrays
from training.fit.parent_runs import load_teacher, weights_sha256

_BATCH = 256


def distillation_targets(
    targets: npt.NDArray[np.float32],
    images: npt.NDArray[np.uint8],
    runs: Sequence[Path],
    share: float,
    cache: Path,
) -> npt.NDArray[np.float32]:
    """Blend targets with the mean prediction of finished networks for the unchanged images and their mirror images.

    Args:
        targets: float32 (N, 7), from the labels; rows sum to 1.
        images: uint8 (N, 48, 48, 1).
        runs: Folders of finished runs, of which only the original labels' head is used, or exported ONNX files.
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
        write_arrays(cache, {"inputs": np.array(inputs), "predictions": predictions})
    return _blend(targets, predictions, share)


class ConsistentTeachers:
    """Finished networks that predict every batch.

    Args:
        config: Runs or exported files, and the share of their predictions in the targets.

    Raises:
        TrainingError: A run is not finished, or a file cannot be loaded.
    """

    def __init__(self, config: DistillationConfig) -> None:
        self._teachers = [load_teacher(path) for path in config.runs]
        self._share = config.share

    def blend(self, targets: npt.NDArray[np.float32], images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Blend targets with the mean prediction for a batch.

        Args:
            targets: float32 (N, 7); rows sum to 1.
            images: uint8 (N, H, W, 1), augmented and mixed; the teachers see them at 48x48, the size of their training.

        Returns:
            float32 (N, 7); rows sum to 1.
        """
        views = resize_batch(images, CROP_SIZE_PX)
        return _blend(targets, np.mean([teacher(views) for teacher in self._teachers], axis=0), self._share)


def _blend(
    targets: npt.NDArray[np.float32], predictions: npt.NDArray[np.float64], share: float
) -> npt.NDArray[np.float32]:
    return ((1 - share) * targets + share * predictions).astype(np.float32)


def _read_cache(cache: Path, inputs: str) -> npt.NDArray[np.float64] | None:
    """Return the cached predictions; None if the file is missing, damaged or of other inputs."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return saved["predictions"] if str(saved["inputs"]) == inputs else None
    except DAMAGED_ARRAYS:
        return None


def _predict(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    teacher = load_teacher(path)
    of_copies = [
        np.concatenate([teacher(copies[start : start + _BATCH]) for start in range(0, len(copies), _BATCH)])
        for copies in augmented_copies(images, "flip")
    ]
    mean: npt.NDArray[np.float64] = np.mean(of_copies, axis=0)
    return mean
