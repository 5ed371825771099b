"""Version of an exported network."""

from __future__ import annotations

import datetime


def next_version(present: str | None) -> str:
    """Return year, month and the next free number.

    Args:
        present: Version of the file that is replaced; None if there is none.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date()
    prefix = f"{today.year}.{today.month}."
    number = int(present.removeprefix(prefix)) + 1 if present is not None and present.startswith(prefix) else 1
    return f"{prefix}{number}"
