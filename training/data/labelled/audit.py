"""Audit of a labelled set before training: counts, grey levels, groups, samples, and what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.labels import LABELS
from training.data import plots
from training.data.labelled.dataset import LabelledData, LabelledSplit
from training.data.splits import BLANK_DEVIATION
from training.files import write_json

_SAMPLES_PER_LABEL = 48
_GROUPS_SHOWN = 10


def audit(data: LabelledData, folder: Path, seed: int = 1) -> dict[str, Any]:
    """Print an audit of a labelled set and write it with plots: `audit.json`, `counts.png`, `samples.png`.

    Args:
        data: The labelled set.
        folder: Folder for the files; created if missing.
        seed: Seed of the choice of samples.

    Returns:
        The content of `audit.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = {split.value: data[split] for split in data.present_splits()}
    content: dict[str, Any] = {
        "sha256": data.sha256,
        "splits": {name: _describe(split) for name, split in splits.items()},
        "groups": {column: dict(Counter(values).most_common()) for column, values in data.all.groups.items()},
        "report": asdict(data.report),
    }
    print(_as_text(content))
    write_json(folder / "audit.json", content)
    counts = {name: split.counts() for name, split in splits.items()}
    plots.plot_counts(counts, folder / "counts.png", "Images per label")
    plots.plot_samples(_samples(data.all, seed), folder / "samples.png")
    print(f"\nPlots and audit.json are in {folder}")
    return content


def _describe(split: LabelledSplit) -> dict[str, Any]:
    deviations = split.images.std(axis=(1, 2, 3))
    return {
        "images": len(split),
        "counts": dict(zip(LABELS, split.counts(), strict=True)),
        "grey_mean": round(float(split.images.mean()), 2),
        "grey_deviation": round(float(split.images.std()), 2),
        "blank_names": [split.paths[index] for index in np.flatnonzero(deviations < BLANK_DEVIATION)],
    }


def _samples(images: LabelledSplit, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    chosen = [
        generator.permutation(np.flatnonzero(images.labels == code))[:_SAMPLES_PER_LABEL] for code in range(len(LABELS))
    ]
    return [images.images[indices, :, :, 0] for indices in chosen]


def _as_text(content: dict[str, Any]) -> str:
    splits = content["splits"]
    lines = [f"sha256 {content['sha256'][:16]}...", "", f"{'':>10}" + "".join(f"{name:>14}" for name in splits)]
    for label in LABELS:
        lines.append(f"{label:>10}" + "".join(f"{split['counts'][label]:>14}" for split in splits.values()))
    lines += [f"{'all':>10}" + "".join(f"{split['images']:>14}" for split in splits.values()), ""]
    for name, split in splits.items():
        blank = len(split["blank_names"])
        lines.append(f"{name}: grey levels {split['grey_mean']} +- {split['grey_deviation']}, blank images: {blank}")
    for column, counts in content["groups"].items():
        shown = [f"{value or '(no value)'} ({count})" for value, count in list(counts.items())[:_GROUPS_SHOWN]]
        more = f", and {len(counts) - _GROUPS_SHOWN} more values" if len(counts) > _GROUPS_SHOWN else ""
        lines.append(f"{column}: {', '.join(shown)}{more}")
    return "\n".join(lines)
