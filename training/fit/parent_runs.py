"""Access to finished runs that another run builds on, for a warm start or for distillation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras

from training.architectures.heads import build_with_heads
from training.errors import TrainingError
from training.fit.run_folder import RunFolder


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
    """Return the TRAINED network of a finished run with its best weights and all its heads."""
    run = finished_run(path)
    model = build_with_heads(run.read_config())
    model.load_weights(run.best_weights)
    return model


def weights_sha256(runs: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of the best weights of every run by its folder, for the provenance.

    Raises:
        TrainingError: A run is not finished.
    """
    return {str(path): hashlib.sha256(finished_run(path).best_weights.read_bytes()).hexdigest() for path in runs}
