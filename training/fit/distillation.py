"""Finished runs that another run starts from or learns from. Reads run folders; trains nothing.

Reference:
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Furlanello et al., "Born Again Neural
    Networks", 2018 (a teacher of the student's own kind).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from app.contract.scores import probabilities
from training.architectures.heads import Head, build_with_heads, single_head
from training.errors import TrainingError
from training.evaluation.test_time_augmentation import augmented_copies
from training.fit.run_folder import RunFolder
from training.fit.widen import widen

_BATCH = 256


def start_from(model: keras.Model, path: Path, seed: int) -> None:
    """Puts the best weights of a finished run into a fresh model, all heads and normalisation statistics included.

    The optimiser of the other run, whose steps and rate the file holds too, stays behind. A wider model of the same
    layers begins with the other run's answers: `training.fit.widen`. A crowd's head that the run does not have stays
    fresh.

    Raises:
        TrainingError: The run is not finished, or is of another network.
    """
    first = _trained(_finished(path))
    if Head.CROWD in model.output and Head.CROWD not in first.output:
        model = single_head(model, Head.ORIGINAL)  # of the same layers
    if [weight.shape for weight in first.weights] == [weight.shape for weight in model.weights]:
        model.set_weights(first.get_weights())
    else:
        widen(first, model, seed)


def teach(
    shares: npt.NDArray[np.float32], images: npt.NDArray[np.uint8], runs: Sequence[Path], share: float, kept: Path
) -> npt.NDArray[np.float32]:
    """Blends targets with what teachers say of the unchanged images and their mirror images.

    Args:
        shares: float32 (N, 7), the labels; rows sum to 1.
        images: uint8 (N, 48, 48, 1).
        runs: Finished runs; only the original labels' head of each is asked.
        share: How much the teachers count, 0 to 1.
        kept: File for their answers, which take minutes: a run that is continued finds those of its beginning.

    Returns:
        float32 (N, 7); rows sum to 1.

    Raises:
        TrainingError: A run is not finished.
    """
    asked = " ".join([*describe(runs).values(), hashlib.sha256(images.tobytes()).hexdigest()])
    answers = _kept_answers(kept, asked)
    if answers is None:
        answers = np.mean([_answers(path, images) for path in runs], axis=0)
        unfinished = kept.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez(file, asked=np.array(asked), answers=answers)
        unfinished.replace(kept)
    return ((1 - share) * shares + share * answers).astype(np.float32)


def describe(runs: Sequence[Path]) -> dict[str, str]:
    """The sha256 of the weights of every run, by its folder, for the provenance."""
    return {str(path): hashlib.sha256(_finished(path).best_weights.read_bytes()).hexdigest() for path in runs}


def _kept_answers(kept: Path, asked: str) -> npt.NDArray[np.float64] | None:
    """The answers in a file, where they are to the same question."""
    try:
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return saved["answers"] if str(saved["asked"]) == asked else None
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError):
        return None


def _answers(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    # In the precision of the run that learns: what bfloat16 rounds off is nothing beside what a teacher does not know.
    teacher = _trained(_finished(path))
    views = [
        probabilities(teacher.predict(view, batch_size=_BATCH, verbose=0)[Head.ORIGINAL.value], 1.0)
        for view in augmented_copies(images, "flip")
    ]
    mean: npt.NDArray[np.float64] = np.mean(views, axis=0)
    return mean


def _trained(run: RunFolder) -> keras.Model:
    model = build_with_heads(run.read_config())
    model.load_weights(run.best_weights)
    return model


def _finished(path: Path) -> RunFolder:
    run = RunFolder(path)
    if not run.report.exists():
        raise TrainingError(f"{path} is not a finished run: it has no {run.report.name}. Train it to its end first.")
    return run
