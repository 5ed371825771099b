"""Writing of files: each is replaced atomically, so that no reader sees and no crash leaves a partial file."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# End of the name of a file until it is complete.
UNFINISHED = ".tmp"
# Exceptions of `numpy.load` for an .npz file that is missing, damaged or has other arrays.
DAMAGED_ARRAYS = (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    unfinished = path.with_name(path.name + UNFINISHED)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Replace a file atomically with indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], *, compress: bool = False) -> None:
    """Replace an .npz file atomically."""
    unfinished = path.with_name(path.name + UNFINISHED)
    save = np.savez_compressed if compress else np.savez
    with unfinished.open("wb") as file:
        save(file, **arrays)  # type: ignore[arg-type]  # numpy's stub does not accept a mapping of arrays here
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
