"""A finished run as an exportable network: its Keras models and its provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import keras

from app.contract.manifest import Provenance
from training import architectures
from training.architectures.heads import Head, build_with_heads, single_head
from training.config import TrainConfig
from training.fit.parent_runs import finished_run
from training.fit.run_folder import RunFolder


@dataclass(frozen=True)
class Network:
    """A network with the weights of a finished run.

    Attributes:
        trained: Model whose logits the ONNX graph must reproduce.
        served: The same network in its SERVED form, which is exported.
        provenance: Origin of the weights.
        head: Head that gives the logits.
        plain: Whether the graph may contain only convolutions, ReLU and max-pooling up to the head.
    """

    trained: keras.Model
    served: keras.Model
    provenance: Provenance
    head: Head = Head.ORIGINAL
    plain: bool = False


def load_network(run: RunFolder, head: Head = Head.ORIGINAL) -> Network:
    """Load the weights of a finished run, in float32.

    Raises:
        TrainingError: The run is not finished, or was trained without this head.
    """
    config = run.read_config()
    finished_run(run.path)
    keras.config.set_dtype_policy("float32")
    with_heads = build_with_heads(config)
    with_heads.load_weights(run.result_weights)
    trained = single_head(with_heads, head)
    return Network(
        trained=trained,
        served=architectures.fold(trained, config.model, head.value),
        provenance=_provenance(run, config, head),
        head=head,
        plain=config.model.architecture in architectures.PLAIN_WHEN_SERVED,
    )


def _provenance(run: RunFolder, config: TrainConfig, head: Head) -> Provenance:
    recorded = run.read_provenance()
    described, wall_s = _config_with_parents(run, config)
    return Provenance(
        commit=recorded["commit"],
        config=described,
        dataset=recorded["dataset"],
        seed=config.seed,
        packages=recorded["packages"],
        hardware=recorded["hardware"],
        wall_s=round(wall_s, 1),
        learned_labels="original" if head is Head.ORIGINAL else "annotators",
    )


def _config_with_parents(run: RunFolder, config: TrainConfig) -> tuple[dict[str, Any], float]:
    """Return the config of a run with its parent runs, and the training time of the whole chain in seconds.

    The config gets two more keys: `parent_runs` (sha256 of the weights by folder) and `warm_start_config` (config of
    the run that gave the first weights, with its own parents).
    """
    wall_s: float = json.loads(run.report.read_text(encoding="utf-8"))["wall_s"]
    recorded = run.read_provenance()
    if (restored := recorded.get("restored_config")) is not None:
        return restored, wall_s
    described: dict[str, Any] = config.model_dump(mode="json")
    described["precision"] = run.read_precision() or config.precision  # the precision that was used, not `auto`
    if parents := recorded.get("parent_runs"):
        described["parent_runs"] = parents
    if config.warm_start is not None:
        parent = RunFolder(config.warm_start)
        described["warm_start_config"], parent_s = _config_with_parents(parent, parent.read_config())
        wall_s += parent_s
    return described, wall_s
