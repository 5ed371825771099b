"""Evaluation of a served model on any labelled set, by split, class and group. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from joblib import cpu_count

from app.contract.manifest import Manifest, SplitMetrics, load_manifest
from app.inference.session import EmotionSession
from training.data.labelled import ALL, LabelledData, LabelledSplit, SplitName
from training.errors import TrainingError
from training.evaluation.evaluate import session_logits
from training.evaluation.groups import GroupComparison, compare_groups
from training.evaluation.metrics import measure


@dataclass(frozen=True)
class EvaluatedSplit:
    """Result of one split.

    Attributes:
        name: A `SplitName`, or `ALL`.
        logits: float32 (N, 7), for further statistics of the predictions.
        labels: int64 (N,).
        metrics: Metrics with calibrated probabilities.
        comparisons: One for each column of groups.
    """

    name: str
    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    metrics: SplitMetrics
    comparisons: tuple[GroupComparison, ...]


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation.

    Attributes:
        manifest: Manifest of the model, unchanged.
        splits: Results in the order in which they were asked for.
    """

    manifest: Manifest
    splits: tuple[EvaluatedSplit, ...]


def evaluate_labelled(
    model_path: Path,
    data: LabelledData,
    splits: Sequence[str],
    group_columns: Sequence[str] = (),
    device: Literal["cpu", "cuda", "auto"] = "cpu",
) -> Evaluation:
    """Measure a served model through the service's session.

    Args:
        model_path: ONNX file with its manifest.
        data: The labelled set.
        splits: Names of splits, or `ALL`. No other split is measured.
        group_columns: Columns of the CSV to compare groups by.
        device: Execution device.

    Raises:
        ManifestError: The file does not match its manifest.
        SelfTestError: The file does not reproduce its golden vectors.
        TrainingError: A split has no image, or a column is missing or has too many values.
    """
    chosen = {name: select(data, name) for name in splits}
    missing = [column for column in group_columns if column not in data.all.groups]
    if missing:
        raise TrainingError(
            f"--groups: expected columns of the CSV beside path, label and split:"
            f" {', '.join(data.all.groups) or 'the data has none'}. Received: {', '.join(missing)}"
        )
    session = EmotionSession(model_path, device, cpu_count())
    session.self_test()
    results = [_evaluate(session, name, split, group_columns) for name, split in chosen.items()]
    return Evaluation(session.manifest, tuple(results))


def select(data: LabelledData, name: str) -> LabelledSplit:
    """Return the images of a split by name, or all images.

    Raises:
        TrainingError: The split has no image.
    """
    if name == ALL:
        return data.all
    present = data.present_splits()
    if name not in present:
        raise TrainingError(
            f"--split: expected {', '.join(present)} or {ALL}, the splits of the data that have images."
            f" Received: {name}"
        )
    return data[SplitName(name)]


def _evaluate(session: EmotionSession, name: str, split: LabelledSplit, group_columns: Sequence[str]) -> EvaluatedSplit:
    logits = session_logits(session, split.images)
    metrics = measure(logits, split.labels, session.manifest.contract.temperature)
    columns = {column: split.groups[column] for column in group_columns}
    comparisons = compare_groups(logits.argmax(axis=1) == split.labels, split.labels, columns)
    return EvaluatedSplit(name, logits, split.labels, metrics, comparisons)


def default_split(model_path: Path, data: LabelledData) -> tuple[str, str]:
    """Return the split to measure if none is named, and a sentence with the reason.

    The test split, if the data states splits. All images otherwise, because the model did not see them; unless its
    manifest names this very data, which it then learned from.
    """
    if data.stated_splits:
        return SplitName.TEST, "Measured: the test split. Name others with --split."
    if load_manifest(model_path).provenance.dataset.get("sha256") == data.sha256:
        return (
            SplitName.TEST,
            "Measured: the test split, because the model was trained on the other images of this data.",
        )
    return ALL, "Measured: all images. If the model learned from some of them, measure --split test only."
