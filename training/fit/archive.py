"""Archives of runs: one small file with config, history and rounded weights, to move a run between machines.

A run folder with its optimiser has about eight times the size. Kernels are rounded to half precision. `unpack` measures
the rounded network, so the report of an unpacked run is that of its own weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.architectures.heads import Head, build_with_heads
from training.config import load_recorded_config
from training.data.splits import Fer2013, Split
from training.errors import TrainingError
from training.evaluation.metrics import measure
from training.files import DAMAGED_ARRAYS, write_arrays, write_json, write_text
from training.fit.epoch import predict
from training.fit.run_folder import RunFolder


def pack(run: RunFolder, path: Path) -> None:
    """Write the archive of a run, which may still be unfinished: then it has the best weights so far.

    Args:
        run: A run with at least one epoch.
        path: `.npz` file; it is replaced atomically.
    """
    config = run.read_config()
    model = build_with_heads(config)
    model.load_weights(run.result_weights if run.result_weights.exists() else run.best_weights)
    record = {
        "config": config.model_dump(mode="json"),
        "history": json.loads(run.history.read_text(encoding="utf-8")),
        "provenance": run.read_provenance(),
        "finished": run.report.exists(),
    }
    # Biases and normalisations are small, so they keep their precision.
    arrays = {
        f"weight_{index:04d}": weight.astype(np.float16 if weight.ndim > 1 else np.float32)
        for index, weight in enumerate(model.get_weights())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {"record": np.array(json.dumps(record)), **arrays}, compress=True)


def unpack(path: Path, dataset: Fer2013, run: RunFolder) -> None:
    """Write the run folder of an archive: config, history, weights, provenance and the report on PublicTest.

    Args:
        path: Archive of `pack`.
        dataset: PublicTest is measured for the report.
        run: The folder to write; it must be empty or missing.

    Raises:
        TrainingError: The archive is damaged or of another network, or the folder is not empty.
    """
    run.check_empty()
    record, weights = _read(path)
    config = load_recorded_config(record["config"])
    keras.config.set_dtype_policy("float32")
    model = build_with_heads(config)
    if [weight.shape for weight in weights] != [tuple(weight.shape) for weight in model.weights]:
        raise TrainingError(f"{path} does not fit the network of its config.")
    model.set_weights(weights)
    run.path.mkdir(parents=True, exist_ok=True)
    write_text(run.config, config.model_dump_json(indent=2) + "\n")
    write_json(run.history, record["history"])
    run.save_weights(model, run.result_weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    run.write_provenance({**record["provenance"], "unpacked_from": digest})
    public = dataset[Split.PUBLIC_TEST]
    measured = measure(predict(model, public.images)[Head.ORIGINAL.value], public.labels, temperature=1.0)
    write_json(  # last: a run with a report is finished
        run.report,
        {
            "epochs_done": len(record["history"]),
            "averaged_epochs": config.averaged_epochs if record["finished"] else None,
            "wall_s": sum(entry["seconds"] for entry in record["history"]),
            Split.PUBLIC_TEST: measured.model_dump(mode="json"),
        },
    )


def _read(path: Path) -> tuple[dict[str, Any], list[npt.NDArray[np.float32]]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            names = sorted(name for name in saved.files if name != "record")
            return json.loads(str(saved["record"])), [saved[name].astype(np.float32) for name in names]
    except DAMAGED_ARRAYS as error:
        # Other messages of numpy recommend to load the file without checks.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged or another file"
        raise TrainingError(f"{path} is not an archive of `pack` or `plan`: {reason}") from error
