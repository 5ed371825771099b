"""A list of the problems of a dataset, so that one run reports all of them."""

from __future__ import annotations

from pathlib import Path

from training.errors import TrainingError

_PROBLEMS_SHOWN = 10


class Problems:
    """Problems found in one source.

    Args:
        source: File or folder of the dataset, for the message.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """Add one problem."""
        self._found.append(problem)

    def raise_if_any(self) -> None:
        """Raise an error that lists the first problems and counts the others.

        Raises:
            TrainingError: At least one problem was added.
        """
        if not self._found:
            return
        shown = "\n  - ".join(self._found[:_PROBLEMS_SHOWN])
        more = len(self._found) - _PROBLEMS_SHOWN
        rest = f"\n  ... and {more} more" if more > 0 else ""
        raise TrainingError(f"{self._source} is not a usable FER2013:\n  - {shown}{rest}")
