"""The table of measured systems: `leaderboard.json`, and what a person reads of it. Trains and measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import TrainingError
from training.evaluation import plots
from training.fit.run_folder import write_json, write_text


class Row(BaseModel):
    """One measured system. Shares are 0 to 1.

    Attributes:
        key: Name of its config.
        architecture: Key of its network; of an ensemble, `ensemble`.
        source: Who published it; None for this project's own.
        reported_accuracy: What its report says; None for this project's own.
        note: In what the recipe here differs from the report's, and what else a reader must know.
        parameters: Of the trained network, statistics of normalisations included, as reports count.
        mflops: For one face, as served; a multiplication and its addition are two operations.
        seconds_per_epoch: Median of the run's epochs, by the clock.
        epochs: Trained.
        hardware: On which it was trained.
        accuracy: By split: PublicTest, PrivateTest and both together (the 7,178 images that most reports quote).
        accuracy_interval: Wilson's 95 % interval over both together.
        accuracy_with_flips: Over both together, when a face and its mirror image are averaged.
        macro_precision: Over both together, as the figures below.
        latency_ms: Median for one face on one core through ONNX Runtime; None until it was timed.
        latency_hardware: On which that was timed.
        confusion: Rows are true labels, columns predictions.
        config: The whole recipe.
        commit: Of the code that trained it.
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
    """The rows under one folder; the tables are written again after every change, the plots when asked.

    Args:
        folder: Holds `leaderboard.json`, `leaderboard.md` and the plots.
        both_tests: The name under which `Row.accuracy` holds PublicTest and PrivateTest together.

    Raises:
        TrainingError: What stands there is damaged or of another schema.
    """

    def __init__(self, folder: Path, both_tests: str) -> None:
        self._folder, self._both = folder, both_tests
        self._path = folder / "leaderboard.json"
        self._rows: dict[str, Row] = {}
        if self._path.exists():
            try:
                rows = [Row.model_validate(row) for row in json.loads(self._path.read_text(encoding="utf-8"))]
            except (ValueError, ValidationError) as error:
                raise TrainingError(f"{self._path} is damaged or of another version: {error}") from error
            self._rows = {row.key: row for row in rows}

    def get(self, key: str) -> Row | None:
        """The row of that name, or None."""
        return self._rows.get(key)

    def rows(self) -> list[Row]:
        """All rows, the most accurate first."""
        return sorted(self._rows.values(), key=lambda row: (-row.accuracy[self._both], row.key))

    def put(self, row: Row) -> None:
        """Adds or replaces a row and writes both tables anew."""
        self._rows[row.key] = row
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        write_json(self._path, [row.model_dump(mode="json") for row in rows])
        write_text(self._folder / "leaderboard.md", markdown(rows, self._both))

    def draw(self) -> None:
        """Draws the plots of all rows; nothing where there is no row."""
        rows = self.rows()
        if not rows:
            return
        timed = [(row.key, row.accuracy[self._both], row.latency_ms) for row in rows if row.latency_ms is not None]
        if timed:
            plots.plot_accuracy_against_latency(timed, self._folder / "accuracy_against_latency.png")
        plots.plot_class_heat_map(
            [row.key for row in rows], [row.per_class_f1 for row in rows], self._folder / "f1_by_class.png"
        )
        plots.plot_confusion_sheet(
            [f"{row.key}, {row.accuracy[self._both]:.1%}" for row in rows],
            [row.confusion for row in rows],
            self._folder / "confusions.png",
        )


def markdown(rows: Sequence[Row], both_tests: str) -> str:
    """The table as Markdown, with the notes below it."""
    lines = [
        "# Leaderboard",
        "",
        "Written by `python -m training compare` from `leaderboard.json`; every figure was measured on the exported",
        "ONNX file through the service's own session. Sorted by accuracy on the 7,178 images of PublicTest and",
        "PrivateTest together, which most reports quote; nothing was chosen on PrivateTest.",
        "",
        "| system | network | 7,178 (95 %) | with flips | PublicTest | PrivateTest | macro F1 | reported | difference"
        " | parameters | MFLOPs | ms per face | epochs | s per epoch |",
        "| --- | --- |" + " ---: |" * 12,
    ]
    for row in rows:
        accuracy, (low, high) = row.accuracy[both_tests], row.accuracy_interval
        reported, difference = "", ""
        if row.reported_accuracy is not None:
            reported, difference = f"{row.reported_accuracy:.2%}", f"{(accuracy - row.reported_accuracy) * 100:+.2f}"
        latency = "" if row.latency_ms is None else f"{row.latency_ms:.2f}"
        lines.append(
            f"| {row.key} | {row.architecture} | **{accuracy:.2%}** ({low:.1%} to {high:.1%})"
            f" | {row.accuracy_with_flips:.2%} | {row.accuracy['PublicTest']:.2%} | {row.accuracy['PrivateTest']:.2%}"
            f" | {row.macro_f1:.3f} | {reported} | {difference} | {row.parameters:,} | {row.mflops:,.0f}"
            f" | {latency} | {row.epochs} | {row.seconds_per_epoch:.0f} |"
        )
    lines += [
        "",
        "Latency: one face, one core, ONNX Runtime, all rows in one sitting, on "
        + _listed(row.latency_hardware for row in rows)
        + ".",
    ]
    lines += ["Trained on " + _listed(row.hardware for row in rows) + ".", "", "## Sources and notes", ""]
    lines += [
        f"- `{row.key}`: {'. '.join(part.rstrip('.') for part in (row.source, row.note) if part)}."
        for row in sorted(rows, key=lambda row: row.key)
        if row.source or row.note
    ]
    lines += ["", "![accuracy against latency](accuracy_against_latency.png)", "", "![F1 by class](f1_by_class.png)"]
    lines += ["", "![confusion matrices](confusions.png)", ""]
    return "\n".join(lines)


def _listed(names: Iterable[str | None]) -> str:
    return "; ".join(sorted({name for name in names if name is not None}))
