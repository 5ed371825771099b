"""Dataset exploration before training: counts, samples, grey levels and exact duplicates.

`training.data.duplicates` counts the duplicates; `training.data.plots` draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.contract.labels import LABELS
from training.data import plots
from training.data.duplicates import conflicting_duplicates, duplicates_across, duplicates_within
from training.data.splits import BLANK_DEVIATION, Fer2013, Split, SplitData
from training.files import write_json

_SAMPLES_PER_LABEL = 48


def explore(dataset: Fer2013, folder: Path, seed: int = 1) -> dict[str, Any]:
    """Print an audit of the dataset and write it with plots: `audit.json`, `counts.png`, `samples.png`.

    Args:
        dataset: FER2013.
        folder: Folder for the files; created if missing.
        seed: Seed of the choice of samples.

    Returns:
        The content of `audit.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    audit = _audit(dataset)
    print(_as_text(audit))
    write_json(folder / "audit.json", audit)
    plots.plot_counts({split.value: dataset[split].counts() for split in Split}, folder / "counts.png")
    training = dataset[Split.TRAINING]
    generator = np.random.default_rng(seed)
    samples = [
        training.images[generator.permutation(np.flatnonzero(training.labels == code))[:_SAMPLES_PER_LABEL], :, :, 0]
        for code in range(len(LABELS))
    ]
    plots.plot_samples(samples, folder / "samples.png")
    print(f"\nPlots and audit.json are in {folder}")
    return audit


def _audit(dataset: Fer2013) -> dict[str, Any]:
    training, public = dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]
    return {
        "sha256": dataset.sha256,
        "splits": {split.value: _describe(dataset[split]) for split in Split},
        "duplicates_in_training": {
            split.value: _count_duplicates(training, dataset[split])
            for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST)
        },
        "duplicates_in_public_test": {Split.PRIVATE_TEST.value: _count_duplicates(public, dataset[Split.PRIVATE_TEST])},
    }


def _describe(split: SplitData) -> dict[str, Any]:
    deviations = split.images.std(axis=(1, 2, 3))
    blank = np.flatnonzero(deviations < BLANK_DEVIATION)
    return {
        "images": len(split.labels),
        "counts": dict(zip(LABELS, split.counts(), strict=True)),
        "grey_mean": round(float(split.images.mean()), 2),
        "grey_deviation": round(float(split.images.std()), 2),
        "constant_images": int((deviations == 0).sum()),
        "blank_images": len(blank),
        "blank_names": [split.names[index] for index in blank],
        "duplicates_within": vars(duplicates_within(split)),
    }


def _count_duplicates(known: SplitData, other: SplitData) -> dict[str, int]:
    return {
        "images": int(duplicates_across(known, other).sum()),
        "with_another_label": conflicting_duplicates(known, other),
    }


def _as_text(audit: dict[str, Any]) -> str:
    splits = audit["splits"]
    lines = [f"FER2013, sha256 {audit['sha256'][:16]}...", "", f"{'':>10}" + "".join(f"{name:>14}" for name in splits)]
    for label in LABELS:
        lines.append(f"{label:>10}" + "".join(f"{split['counts'][label]:>14}" for split in splits.values()))
    lines.append(f"{'all':>10}" + "".join(f"{split['images']:>14}" for split in splits.values()))
    lines.append("")
    for name, split in splits.items():
        within = split["duplicates_within"]
        lines.append(
            f"{name}: grey levels {split['grey_mean']} +- {split['grey_deviation']},"
            f" {split['blank_images']} blank images ({split['constant_images']} of one grey level only);"
            f" {within['surplus']} exact duplicates in {within['groups']} groups,"
            f" {within['conflicting']} of them with conflicting labels"
        )
    for place, key in ((Split.TRAINING, "duplicates_in_training"), (Split.PUBLIC_TEST, "duplicates_in_public_test")):
        for name, counts in audit[key].items():
            lines.append(
                f"{name}: {counts['images']} images are in {place} too,"
                f" {counts['with_another_label']} of them with another label"
            )
    return "\n".join(lines)
