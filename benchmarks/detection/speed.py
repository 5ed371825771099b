"""CPU time per picture of several detectors in one run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.detection.cases import Case
from benchmarks.detection.detectors import Detector

_ROUNDS = 3


def milliseconds(
    detectors: Mapping[str, Detector], cases: Mapping[str, Iterable[Case]], rounds: int = _ROUNDS
) -> dict[str, np.ndarray]:
    """Return the CPU time of this thread for each picture, by detector: the best of some rounds.

    The detectors run in turn on each picture, so that changes of the machine's speed affect all of them.

    Args:
        detectors: Detectors by name.
        cases: Pictures as each detector reads them, in the same order.
        rounds: Number of rounds.

    Returns:
        float64 (pictures,) in milliseconds for each detector.
    """
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for same_picture in zip(*(cases[name] for name in detectors), strict=True):
        best = dict.fromkeys(detectors, float("inf"))
        for _ in range(rounds):
            for (name, detector), case in zip(detectors.items(), same_picture, strict=True):
                started = time.thread_time()
                detector.detect(case.image)
                best[name] = min(best[name], (time.thread_time() - started) * 1000)
        for name, value in best.items():
            times[name].append(value)
    return {name: np.array(values) for name, values in times.items()}


def summary(times: np.ndarray, reference: np.ndarray) -> Sequence[tuple[str, str]]:
    """Return the rows of one detector: its times, and their ratio to those of the reference on the same pictures."""
    ratios = times / reference
    return (
        ("ms, median", f"{np.median(times):.1f} ({np.median(times) / np.median(reference):.2f})"),
        ("ms, mean", f"{times.mean():.1f} ({times.mean() / reference.mean():.2f})"),
        ("ms, largest", f"{times.max():.1f} ({ratios.max():.2f} at most)"),
    )
