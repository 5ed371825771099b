"""Test-time augmentation: the same model asked about several views of every image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from app.inference.session import EmotionSession
from app.server.cpus import available_cpus
from training.data.fer2013 import Fer2013, Split

Views = Literal["flip", "ten_crop"]

_BATCH = 256
_CROP_MARGIN_PX = 4  # how far the corner crops look beyond the picture, whose edge is repeated there: 44 of 48 pixels


def accuracy_of_views(model_path: Path, dataset: Fer2013, splits: Sequence[Split], views: Views) -> float:
    """Accuracy over all images of some splits, when the probabilities of several views are averaged.

    Args:
        model_path: The ONNX file.
        dataset: FER2013.
        splits: Whose images are judged, all together.
        views: See `views_of`.
    """
    session = EmotionSession(model_path, "cpu", available_cpus())
    right = [
        view_scores(session, dataset[split].images, views).argmax(axis=1) == dataset[split].labels for split in splits
    ]
    return float(np.concatenate(right).mean())


def view_scores(session: EmotionSession, images: npt.NDArray[np.uint8], views: Views) -> npt.NDArray[np.float64]:
    """Mean probabilities over the views of images uint8 (N, 48, 48, 1), float64 (N, 7)."""
    scores = [
        np.concatenate([session.classify(list(view[start : start + _BATCH])) for start in range(0, len(view), _BATCH)])
        for view in views_of(images, views)
    ]
    mean: npt.NDArray[np.float64] = np.mean(scores, axis=0)
    return mean


def views_of(images: npt.NDArray[np.uint8], views: Views) -> Iterator[npt.NDArray[np.uint8]]:
    """Several views of images.

    Args:
        images: uint8 (N, 48, 48, 1).
        views: `flip` for the image and its mirror image, `ten_crop` for those of the image and of it shifted to the
            four corners.

    Yields:
        uint8 (N, 48, 48, 1) each.
    """
    whole = [images]
    if views == "ten_crop":
        side, margin = images.shape[1], _CROP_MARGIN_PX
        padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
        corners = [(top, left) for top in (0, 2 * margin) for left in (0, 2 * margin)]
        whole += [padded[:, top : top + side, left : left + side] for top, left in corners]
    for view in whole:
        yield np.ascontiguousarray(view)
        yield np.ascontiguousarray(view[:, :, ::-1])
