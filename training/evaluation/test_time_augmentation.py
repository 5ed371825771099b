"""Test-time augmentation: probabilities averaged over several augmented copies of every image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from joblib import cpu_count

from app.contract.contrast import with_min_contrast
from app.inference.session import EmotionSession
from training.data.splits import Fer2013, Split

Augmentation = Literal["flip", "ten_crop"]

_BATCH = 256
_CROP_MARGIN_PX = 4  # shift of the corner crops: each keeps 44 of 48 rows and columns and repeats the edge


def accuracy_with_augmentation(
    model_path: Path, dataset: Fer2013, splits: Sequence[Split], augmentation: Augmentation
) -> float:
    """Measure the accuracy over all images of some splits with test-time augmentation.

    Args:
        model_path: ONNX file with its manifest.
        dataset: FER2013.
        splits: Splits to measure together.
        augmentation: See `augmented_copies`.

    Returns:
        Accuracy, 0 to 1.
    """
    session = EmotionSession(model_path, "cpu", cpu_count())
    correct = [
        mean_probabilities(session, dataset[split].images, augmentation).argmax(axis=1) == dataset[split].labels
        for split in splits
    ]
    return float(np.concatenate(correct).mean())


def mean_probabilities(
    session: EmotionSession, images: npt.NDArray[np.uint8], augmentation: Augmentation
) -> npt.NDArray[np.float64]:
    """Return the mean probabilities float64 (N, 7) over the augmented copies of images uint8 (N, 48, 48, 1)."""
    scores = [
        np.concatenate(
            [session.classify(list(copies[start : start + _BATCH])) for start in range(0, len(copies), _BATCH)]
        )
        for copies in augmented_copies(images, augmentation)
    ]
    mean: npt.NDArray[np.float64] = np.mean(scores, axis=0)
    return mean


def augmented_copies(images: npt.NDArray[np.uint8], augmentation: Augmentation) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the augmented copies of all images, one copy of each image at a time.

    Args:
        images: uint8 (N, 48, 48, 1).
        augmentation: `flip` yields the images and their mirror images. `ten_crop` also yields the images shifted
            towards each of the four corners, and their mirror images.

    Yields:
        uint8 (N, 48, 48, 1).
    """
    crops = [images]
    if augmentation == "ten_crop":
        side, margin = images.shape[1], _CROP_MARGIN_PX
        padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
        corners = [(top, left) for top in (0, 2 * margin) for left in (0, 2 * margin)]
        crops += [padded[:, top : top + side, left : left + side] for top, left in corners]
    for crop in map(with_min_contrast, crops):
        yield np.ascontiguousarray(crop)
        yield np.ascontiguousarray(crop[:, :, ::-1])
