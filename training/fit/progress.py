"""Progress of an epoch: the bar of Keras on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import keras

STEPS_PER_LINE = 50

Values = Sequence[tuple[str, float]]


class Progress(Protocol):
    """What a training loop reports its steps to."""

    def update(self, done: int, values: Values) -> None:
        """Report the number of steps done, and the mean of each figure so far."""


class _Lines:
    """One line every 50 steps, for logs; the line of Keras at the end of the epoch."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._bar = keras.utils.Progbar(steps, verbose=2)

    def update(self, done: int, values: Values) -> None:
        if done % STEPS_PER_LINE == 0 and done < self._steps:
            figures = ", ".join(f"{name} {value:.4f}" for name, value in values)
            print(f"  step {done}/{self._steps}: {figures}", flush=True)
        self._bar.update(done, list(values))


def build_progress(steps: int) -> Progress:
    """Return the progress of an epoch with a number of steps."""
    if sys.stdout.isatty():
        bar: Progress = keras.utils.Progbar(steps, verbose=1)
        return bar
    return _Lines(steps)
