"""Latency of all rows of the leaderboard, measured in one session."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import onnx
from pydantic import ValidationError

from training import architectures, provenance
from training.architectures import Form
from training.config import ModelConfig
from training.errors import TrainingError
from training.evaluation.cost import latency_ms
from training.export.graph import to_onnx
from training.studies.ensemble import EnsembleConfig, combine
from training.studies.leaderboard import Leaderboard
from training.studies.rows import hardware_name


def measure_latencies(board: Leaderboard, files: Mapping[str, Path]) -> None:
    """Measure the latency of every row and write it into the leaderboard.

    A row without an ONNX file is measured with a network of the same shape and random weights: the weights do not
    influence the latency.

    Args:
        board: The leaderboard.
        files: ONNX file by key of the row. Files may be missing.

    Raises:
        TrainingError: The config of a row comes from an earlier version and its network cannot be built.
    """
    keras.config.set_dtype_policy("float32")
    hardware = hardware_name(provenance.describe_environment()["hardware"] | {"accelerator": None})
    latencies = {}
    for row in board.rows():
        with tempfile.TemporaryDirectory(prefix="fer-latency-") as folder:
            file = files.get(row.key)
            if file is None or not file.exists():
                file = Path(folder) / "random.onnx"
                try:
                    onnx.save(to_onnx(_random_network(row.config), Path(folder)), file)
                except (ValidationError, TrainingError) as error:
                    raise TrainingError(
                        f"the network of {row.key} cannot be built, its config is from an earlier version: {error}"
                    ) from error
            latencies[row.key] = latency_ms(file)
    board.put(
        *(
            row.model_copy(update={"latency_ms": latencies[row.key], "latency_hardware": hardware})
            for row in board.rows()
        )
    )


def _random_network(config: Mapping[str, Any]) -> keras.Model:
    """Build the SERVED form of a row's network with random weights."""
    if "member_configs" not in config:
        return architectures.build(ModelConfig.model_validate(config["model"]), Form.SERVED)
    members = [_random_network(member) for member in config["member_configs"]]
    ensemble = EnsembleConfig.model_validate({key: config[key] for key in config if key != "member_configs"})
    return combine(members, ensemble.method, ensemble.shares())
