"""Small synthetic editions of FER2013, and a config that trains in a second. No real image is needed."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "torch")

from app.contract.labels import LABELS
from training.config import TrainConfig
from training.data.splits import Fer2013, Split, SplitData

IMAGES_PER_LABEL = {Split.TRAINING: 4, Split.PUBLIC_TEST: 2, Split.PRIVATE_TEST: 2}
FOLDERS = {Split.TRAINING: "train", Split.PUBLIC_TEST: "test", Split.PRIVATE_TEST: "test"}


def flat_image(split: Split, code: int, index: int) -> np.ndarray:
    """An image of one grey level, which encodes split, label and index, and which JPEG keeps exactly."""
    level = 16 * (1 + code) + 4 * index + {Split.TRAINING: 0, Split.PUBLIC_TEST: 1, Split.PRIVATE_TEST: 2}[split]
    return np.full((48, 48), level, dtype=np.uint8)


def textured_image(seed: int) -> np.ndarray:
    """Noise without symmetry, so that a mirrored, transposed or swapped image differs."""
    return np.random.default_rng(seed).integers(0, 256, size=(48, 48), dtype=np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100)
    return stream.getvalue()


def edition_files() -> dict[str, bytes]:
    """Return the files of a small folder edition: path -> content."""
    return {
        f"{FOLDERS[split]}/{label}/{split}_{code}{index}.jpg": jpeg(flat_image(split, code, index))
        for split, count in IMAGES_PER_LABEL.items()
        for code, label in enumerate(LABELS)
        for index in range(count)
    }


def write_archive(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folders(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def csv_rows() -> list[list[str]]:
    return [
        [str(code), " ".join(map(str, flat_image(split, code, index).ravel())), split.value]
        for split, count in IMAGES_PER_LABEL.items()
        for code in range(len(LABELS))
        for index in range(count)
    ]


def write_csv(path: Path, rows: list[list[str]], header: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


VOTES_HEADER = "path,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,nf"


def write_votes(path: Path, rows: dict[str, str], header: str = VOTES_HEADER) -> Path:
    """Write a file of annotator votes. `rows` maps image names to their votes, separated by commas."""
    path.write_text("\n".join([header, *(f"{name},{votes}" for name, votes in rows.items())]) + "\n")
    return path


def tiny_config(**changes) -> TrainConfig:
    settings = {
        "name": "tiny",
        "seed": 3,
        "epochs": 3,
        "batch_size": 16,
        "ema_momentum": 0.9,
        "precision": "float32",  # the same on every machine
        "model": {"architecture": "vgg", "widths": [4, 8], "stage_dropout": 0.1, "head_dropout": 0.2},
        "augment": {"flip_probability": 0.5, "rotation_degrees": 10, "zoom": (0.9, 1.1), "erase_probability": 0.3},
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.01, "warmup_epochs": 1},
        "loss": {"label_smoothing": 0.1},
    }
    return TrainConfig.model_validate(settings | changes)


def tiny_dataset(seed: int = 0) -> Fer2013:
    """Noisy images whose brightness depends on the label; a network learns them in a few steps.

    Their contrast is high enough that the preprocessing does not change them.
    """
    generator = np.random.default_rng(seed)

    def split(count: int) -> SplitData:
        labels = np.arange(count, dtype=np.int64) % len(LABELS)
        levels = 4 + 20 * labels[:, np.newaxis, np.newaxis, np.newaxis]
        images = (levels + generator.choice([0, 40, 80, 130], size=(count, 48, 48, 1))).astype(np.uint8)
        return SplitData(images, labels, tuple(f"{index:04d}" for index in range(count)))

    return Fer2013({Split.TRAINING: split(70), Split.PUBLIC_TEST: split(28), Split.PRIVATE_TEST: split(28)}, "0" * 64)


def split_of(levels: list[int], labels: list[int]) -> SplitData:
    """Images of one grey level each; images of the same level are duplicates."""
    images = np.stack([np.full((48, 48, 1), level, np.uint8) for level in levels])
    return SplitData(images, np.array(labels, dtype=np.int64), tuple(f"{index:04d}" for index in range(len(levels))))
