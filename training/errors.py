"""The exception that the command line prints as one sentence instead of a traceback."""

from __future__ import annotations


class TrainingError(Exception):
    """A problem that the user can solve: input, config or run folder. The message says what is wrong and what to do."""
