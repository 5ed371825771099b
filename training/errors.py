"""The one exception that the command line prints as a sentence instead of a traceback."""

from __future__ import annotations


class TrainingError(Exception):
    """Something the person at the keyboard can mend: input, config, run folder. The message says what and how."""
