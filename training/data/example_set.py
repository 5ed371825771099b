"""A labelled set as users bring it, made from FER2013: to try fine-tuning and evaluation without another data set.

The images are those of PublicTest that have a majority label of the FER+ annotators, as colour JPEG files of 100x100
pixels in numbered folders like those of RAF-DB, and the same files as a CSV. PrivateTest is not used.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training.data.annotator_votes import NO_MAJORITY, AnnotatorVotes
from training.data.splits import Fer2013, Split
from training.errors import TrainingError

MAX_TRAIN_IMAGES = 2000  # the other images are the test split, whatever the number of training images
_SIDE_PX = 100
_TINT = (0.82, 0.9, 1.0)  # blue, green, red: a warm light
_JPEG_QUALITY = 95
_CLEAR_VOTES = 8  # of 10
# Numbers of RAF-DB. The reader knows them as `--classes rafdb`.
_NUMBERS = {"surprise": 1, "fear": 2, "disgust": 3, "happy": 4, "sad": 5, "angry": 6, "neutral": 7}
_COLUMNS = ("path", "label", "split", "brightness", "agreement", "half")


def write_example_set(dataset: Fer2013, votes: AnnotatorVotes, folder: Path, train_images: int) -> dict[str, int]:
    """Write the folders `train/<number>/` and `test/<number>/`, and `labels.csv`.

    The CSV has three columns of groups: `brightness` (mean grey level), `agreement` of the annotators (`clear` with at
    least 8 of 10 votes for the label, else `unclear`) and `half` (`a` or `b` at random).

    Args:
        dataset: FER2013, the folder edition.
        votes: Annotator votes.
        folder: Folder to create; it must be empty or missing.
        train_images: Number of training images, at most 2,000.

    Returns:
        Number of images by split.

    Raises:
        TrainingError: The folder is not empty, the number is too large, or the votes belong to another edition.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"--to {folder} is not empty. Name another folder.")
    if not 1 <= train_images <= MAX_TRAIN_IMAGES:
        raise TrainingError(f"--images: expected 1 to {MAX_TRAIN_IMAGES}. Received: {train_images}")
    public = dataset[Split.PUBLIC_TEST]
    counts = votes.of(public.names)
    majority = counts.majority()
    largest = counts.counts.max(axis=1)
    labelled = np.flatnonzero(majority != NO_MAJORITY)
    ordered = sorted(labelled, key=lambda index: _digest(public.names[index]))
    chosen = {"train": ordered[:train_images], "test": ordered[MAX_TRAIN_IMAGES:]}
    rows = [
        _write_image(folder, split, public.names[index], public.images[index], LABELS[majority[index]], largest[index])
        for split, indices in chosen.items()
        for index in indices
    ]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_COLUMNS, *rows])
    return {split: len(indices) for split, indices in chosen.items()}


def _write_image(
    folder: Path, split: str, name: str, image: npt.NDArray[np.uint8], label: str, votes: float
) -> tuple[str, str, str, str, str, str]:
    """Write one JPEG and return its row of the CSV."""
    path = Path(split) / str(_NUMBERS[label]) / f"face_{Path(name).stem.partition('_')[2]}.jpg"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    grey = cv2.resize(image[:, :, 0], (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    colour = np.stack([grey * share for share in _TINT], axis=-1).round().astype(np.uint8)
    encoded = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    (folder / path).write_bytes(encoded.tobytes())
    agreement = "clear" if votes >= _CLEAR_VOTES else "unclear"
    half = "ab"[_digest(name)[-1] % 2]
    return path.as_posix(), str(_NUMBERS[label]), split, f"{image.mean():.1f}", agreement, half


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
