"""Leaderboard of measured systems: `leaderboard.json`, `leaderboard.md` and plots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS
from training.files import write_json, write_text
from training.studies import leaderboard_plots


class Row(BaseModel):
    """One measured system. Shares are 0 to 1.

    Attributes:
        key: Name of the config.
        architecture: Key of the network; `ensemble` for an ensemble.
        source: Report that published the system; None for this project's own.
        reported_accuracy: Accuracy in that report; None for this project's own.
        note: Differences between this recipe and the report, and other remarks.
        parameters: Of the trained network, with the statistics of batch normalisation, as most reports count.
        mflops: Per face, as served. One multiply-add counts as two operations.
        seconds_per_epoch: Median over the epochs, wall-clock time.
        epochs: Trained epochs.
        hardware: Hardware of the training.
        accuracy: By split: PublicTest, PrivateTest and both together (the 7,178 images that most reports quote).
        accuracy_interval: Wilson's 95 % interval over both together.
        accuracy_with_flips: Over both together, with probabilities averaged over each face and its mirror image.
        macro_precision: Over both together; so are the metrics below.
        latency_ms: Median for one face on one core with ONNX Runtime; None before the measurement.
        latency_hardware: Hardware of that measurement.
        confusion: Rows are true labels, columns are predictions.
        config: The whole recipe.
        commit: Commit of the training code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    architecture: str
    source: str | None
    reported_accuracy: float | None
    note: str
    parameters: int
    mflops: float
    seconds_per_epoch: float
    epochs: int
    hardware: str
    accuracy: dict[str, float]
    accuracy_interval: tuple[float, float]
    accuracy_with_flips: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class_f1: dict[str, float]
    latency_ms: float | None = None
    latency_hardware: str | None = None
    confusion: tuple[tuple[int, ...], ...]
    config: dict[str, Any]
    commit: str


class Leaderboard:
    """All rows in one folder.

    Args:
        folder: Folder of `leaderboard.json`, `leaderboard.md` and the plots.

    Raises:
        TrainingError: `leaderboard.json` is damaged or has another schema.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "leaderboard.json"
        self._rows: dict[str, Row] = {}
        if self._path.exists():
            try:
                rows = [Row.model_validate(row) for row in json.loads(self._path.read_text(encoding="utf-8"))]
            except (ValueError, ValidationError) as error:
                raise TrainingError(f"{self._path} is damaged or from another version: {error}") from error
            self._rows = {row.key: row for row in rows}

    def get(self, key: str) -> Row | None:
        """Return the row with a name, or None."""
        return self._rows.get(key)

    def rows(self) -> list[Row]:
        """Return all rows, sorted by falling accuracy."""
        return sorted(self._rows.values(), key=lambda row: (-row.accuracy[BOTH_TESTS], row.key))

    def put(self, *rows: Row) -> None:
        """Add or replace rows, and write the JSON file and the Markdown table."""
        self._rows |= {row.key: row for row in rows}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path, [row.model_dump(mode="json") for row in self.rows()])
        write_text(self._folder / "leaderboard.md", markdown(self.rows()))

    def draw(self) -> None:
        """Draw the plots, if there are rows."""
        rows = self.rows()
        if not rows:
            return
        timed = [(row.key, row.accuracy[BOTH_TESTS], row.latency_ms) for row in rows if row.latency_ms is not None]
        if timed:
            leaderboard_plots.plot_accuracy_against_latency(timed, self._folder / "accuracy_against_latency.png")
        leaderboard_plots.plot_class_heat_map(
            [row.key for row in rows], [row.per_class_f1 for row in rows], self._folder / "f1_by_class.png"
        )
        leaderboard_plots.plot_confusion_sheet(
            [f"{row.key}, {row.accuracy[BOTH_TESTS]:.1%}" for row in rows],
            [row.confusion for row in rows],
            self._folder / "confusions.png",
        )


_HEADER = """\
# Leaderboard

`python -m training compare` writes this file from `leaderboard.json`. Every figure was measured on the exported ONNX
file, with the session that the service uses. The table is sorted by the accuracy on the 7,178 images of PublicTest and
PrivateTest together, which most reports quote. Nothing was chosen on PrivateTest.

| system | network | 7,178 images (95 % interval) | with mirror images | PublicTest | PrivateTest | macro F1 \
| reported | difference | parameters | MFLOPs | ms per face | epochs | s per epoch |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

_FOOTER = """
"With mirror images": probabilities averaged over each face and its mirror image. "Reported": accuracy in the report
that published the system. "Difference": points above or below that report.

Latency of one face on one core with ONNX Runtime, all rows measured in one session on {latency_hardware}.
Trained on {hardware}.

## Sources and notes

{notes}

![Accuracy against latency](accuracy_against_latency.png)

![F1 by class](f1_by_class.png)

![Confusion matrices](confusions.png)
"""


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of all rows as Markdown, with sources and notes."""
    notes = [
        f"- `{row.key}`: {'. '.join(part.rstrip('.') for part in (row.source, row.note) if part)}."
        for row in sorted(rows, key=lambda row: row.key)
        if row.source or row.note
    ]
    footer = _FOOTER.format(
        latency_hardware=_joined(row.latency_hardware for row in rows),
        hardware=_joined(row.hardware for row in rows),
        notes="\n".join(notes),
    )
    return _HEADER + "".join(_table_row(row) for row in rows) + footer


def _table_row(row: Row) -> str:
    accuracy, (low, high) = row.accuracy[BOTH_TESTS], row.accuracy_interval
    reported, difference = "", ""
    if row.reported_accuracy is not None:
        reported, difference = f"{row.reported_accuracy:.2%}", f"{(accuracy - row.reported_accuracy) * 100:+.2f}"
    latency = "" if row.latency_ms is None else f"{row.latency_ms:.2f}"
    return (
        f"| {row.key} | {row.architecture} | **{accuracy:.2%}** ({low:.1%} to {high:.1%})"
        f" | {row.accuracy_with_flips:.2%} | {row.accuracy['PublicTest']:.2%} | {row.accuracy['PrivateTest']:.2%}"
        f" | {row.macro_f1:.3f} | {reported} | {difference} | {row.parameters:,} | {row.mflops:,.0f}"
        f" | {latency} | {row.epochs} | {row.seconds_per_epoch:.0f} |\n"
    )


def _joined(names: Iterable[str | None]) -> str:
    return "; ".join(sorted({name for name in names if name is not None}))
