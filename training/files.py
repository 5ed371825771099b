"""Writing of small files: each is replaced atomically, so that no reader and no crash leaves a partial file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Replace a file atomically with indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")
