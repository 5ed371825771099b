"""Measures a shipped ONNX file through the service's own session, and writes the figures into its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.config import Device
from app.contract.manifest import Manifest, SplitMetrics, manifest_path
from app.cpus import available_cpus
from app.inference.session import EmotionSession
from training.data import Fer2013, Split
from training.metrics import measure
from training.run import write_text
from training.twins import twins_of

# PublicTest and PrivateTest together: the folder edition's test/, which most reports quote.
BOTH_TESTS = "PublicTest+PrivateTest"

_BATCH = 256


def evaluate(session: EmotionSession, dataset: Fer2013, splits: Sequence[Split]) -> dict[str, SplitMetrics]:
    """Measures a model on splits, and on PublicTest and PrivateTest together where both are among them.

    Args:
        session: The shipped model, as the service loads it.
        dataset: FER2013.
        splits: Which to measure.

    Returns:
        Figures by split name.
    """
    temperature = session.manifest.contract.temperature
    logits = {split: _batched_logits(session, dataset[split].images) for split in splits}
    labels = {split: dataset[split].labels for split in splits}
    twins = {split: twins_of(dataset[Split.TRAINING], dataset[split]) for split in splits}
    measured = {
        split.value: measure(
            logits[split], labels[split], temperature, None if split is Split.TRAINING else twins[split]
        )
        for split in splits
    }
    tests = [split for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST) if split in logits]
    if len(tests) > 1:
        measured[BOTH_TESTS] = measure(
            np.concatenate([logits[split] for split in tests]),
            np.concatenate([labels[split] for split in tests]),
            temperature,
            np.concatenate([twins[split] for split in tests]),
        )
    return measured


def record(model_path: Path, dataset: Fer2013, splits: Sequence[Split], device: Device = "cpu") -> Manifest:
    """Evaluates the shipped file and writes the figures into its manifest; figures of other splits stay.

    Returns:
        The manifest as written.
    """
    session = EmotionSession(model_path, device, available_cpus())
    session.self_test()
    metrics = {**session.manifest.metrics, **evaluate(session, dataset, splits)}
    manifest = session.manifest.model_copy(update={"metrics": metrics})
    write_text(manifest_path(model_path), manifest.model_dump_json(indent=2) + "\n")
    return manifest


def predict_logits(session: ort.InferenceSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Logits float32 (N, 7) of images uint8 (N, 48, 48, 1), by a bare session of a file that is still being made."""
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    return np.concatenate([session.run(["logits"], {"image": batch})[0] for batch in batches])


def _batched_logits(session: EmotionSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.concatenate([session.logits(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])
