"""Classify the images of a folder or a bucket on a Ray cluster: `python -m deploy.ray.job INPUT OUTPUT`.

Ray Data reads the files, maps batches through the pipeline of the command line, and writes Parquet files with one row
per face. A second run with the same output continues where the first one ended. See docs/ray.md.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from fsspec import AbstractFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

from app.api.schemas.prediction import Prediction
from app.cli.files import SUFFIXES
from app.cli.output import CSV_COLUMNS, face_fields
from app.cli.worker import Outcome, Worker
from app.config import Settings, load_settings
from app.contract.labels import LABELS
from app.domain import PredictOptions

_INTEGERS = ("faces", "face", "x", "y", "width", "height")
_FLOATS = ("detection_confidence", "confidence", *LABELS)
SCHEMA = pa.schema(
    [
        *(
            (name, pa.int32() if name in _INTEGERS else pa.float64() if name in _FLOATS else pa.string())
            for name in CSV_COLUMNS
        ),
        ("error", pa.string()),
    ]
)
_FILES_PER_TASK = 64
# Shares of a core. Workers leave room on each core for the tasks that read and write, which would otherwise never run.
_WORKER_CPUS, _FILE_TASK_CPUS = 0.8, 0.1


class OutputError(Exception):
    """The output cannot be continued. The message says what was expected."""


class Predictor:
    """Pipeline of one Ray worker.

    Args:
        settings: The settings of the service.
        options: Options for each image.
    """

    def __init__(self, settings: Settings, options: PredictOptions) -> None:
        self._worker = Worker(settings, options, threads=1)
        atexit.register(self._worker.close)  # Ray Data ends its workers without a call

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        """Return the rows of a batch with the columns `path` and `bytes`. A bad image has one row with its error."""
        rows: list[dict[str, Any]] = []
        for path, data in zip(batch["path"], batch["bytes"], strict=True):
            rows += _rows(str(path), self._worker.predict_image(Path(path), bytes(data)))
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def run(source: str, output: str, settings: Settings, options: PredictOptions, workers: int, batch_size: int) -> int:
    """Classify the images that the output does not contain yet. Ray must be initialised.

    Args:
        source: Folder or bucket with images, as a path or a URL of fsspec.
        output: Folder or bucket for the Parquet files.
        settings: The settings of the service.
        options: Options for each image.
        workers: Number of processes with the pipeline; each uses one core.
        batch_size: Images per batch.

    Returns:
        The number of images that were classified.

    Raises:
        OutputError: See `completed`.
    """
    inputs, folder = fsspec.core.url_to_fs(source)
    outputs, target = fsspec.core.url_to_fs(output)
    done = completed(outputs, target)
    found = (path for path in inputs.find(folder) if Path(path).suffix.lower() in SUFFIXES)
    paths = sorted(path for path in found if path not in done)
    if paths:
        images = ray.data.read_binary_files(
            paths,
            filesystem=_arrow(inputs),
            include_paths=True,
            num_cpus=_FILE_TASK_CPUS,
            override_num_blocks=-(-len(paths) // _FILES_PER_TASK),
        )
        faces = images.map_batches(
            Predictor,
            fn_constructor_args=(settings, options),
            batch_size=batch_size,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=_WORKER_CPUS,
        )
        faces.write_parquet(target, filesystem=_arrow(outputs), ray_remote_args={"num_cpus": _FILE_TASK_CPUS})
    return len(paths)


def completed(outputs: AbstractFileSystem, target: str) -> set[str]:
    """Return the images in the Parquet files of an output. Remove files that an interrupted run left incomplete.

    Raises:
        OutputError: The output has a file of another program.
    """
    paths: set[str] = set()
    for file in outputs.glob(f"{target}/*.parquet"):
        try:
            with outputs.open(file, "rb") as opened:
                rows = pq.ParquetFile(opened)
                if not {"path", "error"} <= set(rows.schema_arrow.names):
                    raise OutputError(f"expected files of this job only in {target}. Received: {file}")
                paths.update(rows.read(columns=["path"])["path"].to_pylist())
        except pa.ArrowInvalid:  # the end of the file is missing
            outputs.rm(file)
    return paths


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="INPUT", help="folder or bucket with images, such as s3://bucket/photos")
    parser.add_argument("output", metavar="OUTPUT", help="folder or bucket for Parquet files")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes, one core each (default: 1)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="images per batch (default: 16)")
    parser.add_argument("--no-detect", action="store_true", help="classify each image as one cropped face")
    args = parser.parse_args()
    settings, options = load_settings(os.environ), PredictOptions(detect=not args.no_detect)
    ray.init(ignore_reinit_error=True)
    started = time.perf_counter()
    try:
        count = run(args.source, args.output, settings, options, args.workers, args.batch_size)
    except OutputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - started
    print(f"{count} images in {seconds:.1f} s, {count / seconds:.1f} images per second, {args.workers} workers")
    return 0


def _rows(path: str, outcome: Outcome) -> Iterable[dict[str, Any]]:
    if outcome.result is None:
        return [{"path": path, "error": outcome.failure}]
    faces = Prediction.of(outcome.result, request_id="").faces
    image = {"path": path, "faces": len(faces)}
    return [image | face_fields(number, face) for number, face in enumerate(faces, start=1)] or [image]


def _arrow(filesystem: AbstractFileSystem) -> PyFileSystem:
    return PyFileSystem(FSSpecHandler(filesystem))


if __name__ == "__main__":
    sys.exit(main())
