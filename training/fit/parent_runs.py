"""Access to finished networks that a run builds on, for a warm start or for distillation: runs and exported files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from joblib import cpu_count

from app.contract.scores import probabilities
from app.contract.sidecar import ManifestError
from app.inference.session import EmotionSession
from training.architectures.heads import Head, build_with_heads
from training.errors import TrainingError
from training.fit.run_folder import RunFolder

# From images uint8 (N, 48, 48, 1) to probabilities float64 (N, 7).
Teacher: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]


def finished_run(path: Path) -> RunFolder:
    """Return the run folder at a path.

    Raises:
        TrainingError: The run is not finished.
    """
    run = RunFolder(path)
    if not run.report.exists():
        raise TrainingError(f"{path} is not a finished run: it has no {run.report.name}. Train it to the end first.")
    return run


def load_trained(path: Path) -> keras.Model:
    """Return the TRAINED network of a finished run with its weights and all its heads."""
    run = finished_run(path)
    model = build_with_heads(run.read_config())
    model.load_weights(run.result_weights)
    return model


def load_teacher(path: Path) -> Teacher:
    """Return the predictions of a finished run or of an exported ONNX file as a function.

    Raises:
        TrainingError: The run is not finished, or the file cannot be loaded.
    """
    if not _is_exported(path):
        # Computed in the precision of the run that is trained: the rounding errors of bfloat16 are small against the
        # errors of the network.
        model = load_trained(path)
        return lambda images: probabilities(model.predict_on_batch(images)[Head.ORIGINAL.value], 1.0)
    try:
        session = EmotionSession(path, "cpu", cpu_count())
    except ManifestError as error:
        raise TrainingError(f"{path} cannot be used for distillation: {error}") from error
    return lambda images: probabilities(session.logits(images), 1.0)


def weights_sha256(runs: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of the weights of every run, or of the exported file, by its path, for the provenance.

    Raises:
        TrainingError: A run is not finished, or a file is missing.
    """
    return {str(path): hashlib.sha256(_weights_file(path).read_bytes()).hexdigest() for path in runs}


def _weights_file(path: Path) -> Path:
    if not _is_exported(path):
        return finished_run(path).result_weights
    if not path.is_file():
        raise TrainingError(f"{path} does not exist: export the network first.")
    return path


def _is_exported(path: Path) -> bool:
    return path.suffix == ".onnx"
