"""Cache of the decoded dataset in the user's cache folder, outside the repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.splits import Fer2013, Split, SplitData
from training.files import DAMAGED_ARRAYS

_CACHE_FORMAT = "1"  # increase it when the meaning of the cached arrays changes


def default_cache_dir() -> Path:
    """Return the user's cache folder: `$XDG_CACHE_HOME/fer-serve`, by default `~/.cache/fer-serve`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer-serve"


def cache_path(folder: Path, source: Path) -> Path:
    """Return the cache file for the present state of a source.

    The name depends on the path, sizes and modification times of the source's files, not on their content.
    """
    digest = hashlib.sha256(f"{_CACHE_FORMAT}:{source.resolve()}".encode())
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name}:{status.st_size}:{status.st_mtime_ns};".encode())
    return folder / f"fer2013-{digest.hexdigest()[:16]}.npz"


def read_cache(cache: Path) -> Fer2013 | None:
    """Return the cached dataset; None if the file is missing or damaged."""
    try:
        # numpy does not close a damaged file that it opened itself.
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            splits = {
                split: SplitData(
                    arrays[f"{split}_images"], arrays[f"{split}_labels"], tuple(arrays[f"{split}_names"].tolist())
                )
                for split in Split
            }
            return Fer2013(splits, str(arrays["sha256"]))
    except DAMAGED_ARRAYS:
        return None


def write_cache(cache: Path, dataset: Fer2013) -> None:
    """Write the dataset atomically."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[np.generic]] = {"sha256": np.array(dataset.sha256)}
    for split, data in dataset.splits.items():
        arrays[f"{split}_images"] = data.images
        arrays[f"{split}_labels"] = data.labels
        arrays[f"{split}_names"] = np.array(data.names)
    unfinished = cache.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub does not accept a mapping of arrays here
    unfinished.replace(cache)
