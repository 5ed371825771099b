"""Ensembles: several finished runs combined into one network and one ONNX file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import keras
from pydantic import Field, PositiveFloat, model_validator

from app.contract.manifest import Manifest, Precision, Provenance
from app.contract.preprocess import CROP_SIZE_PX
from training.config import load_section
from training.config.sections import Section
from training.data.splits import Fer2013
from training.errors import TrainingError
from training.export.export import export_network
from training.export.network import Network, load_network
from training.fit.run_folder import RunFolder

Method = Literal["weighted", "majority"]

# Majority voting adds a small share of the mean probabilities: it breaks ties, and every probability is above 0.
_MEAN_SHARE = 0.01
_MIN_PROBABILITY = 1e-7


class EnsembleConfig(Section):
    """Members of an ensemble and the way their predictions are combined."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    members: tuple[Path, ...] = Field(min_length=2, description="run folders")
    method: Method = "weighted"
    weights: tuple[PositiveFloat, ...] | None = Field(default=None, description="one per member; None: equal weights")

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError("weights must be as many as members")
        return self

    def shares(self) -> list[float]:
        """Return the weights of the members, scaled to sum to 1."""
        weights = self.weights or (1.0,) * len(self.members)
        return [weight / sum(weights) for weight in weights]


def load_ensemble(path: Path) -> EnsembleConfig:
    """Read an ensemble from a TOML file.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema.
    """
    return load_section(EnsembleConfig, path, "ensemble")


def export_ensemble(
    config: EnsembleConfig, dataset: Fer2013, model_path: Path, precision: Precision = "float32"
) -> Manifest:
    """Export the members as one ONNX file with its manifest.

    Raises:
        TrainingError: A member is not finished, the members were trained on different data, or a check of
            `training.export.checks` fails.
    """
    return export_network(load_members(config), dataset, model_path, precision=precision)


def load_members(config: EnsembleConfig) -> Network:
    """Load all members and combine them into one network.

    Raises:
        TrainingError: A member is not finished, or the members were trained on different data.
    """
    members = [load_network(RunFolder(path)) for path in config.members]
    if len({member.provenance.dataset["sha256"] for member in members}) > 1:
        raise TrainingError(f"the members of {config.name} were trained on different data")
    return Network(
        trained=combine([member.trained for member in members], config.method, config.shares()),
        served=combine([member.served for member in members], config.method, config.shares()),
        provenance=_provenance(config, [member.provenance for member in members]),
    )


def combine(models: Sequence[keras.Model], method: Method, shares: Sequence[float]) -> keras.Model:
    """Combine networks into one network.

    Args:
        models: Networks from `image` uint8 (N, 48, 48, 1) to logits (N, 7).
        method: `weighted` averages the probabilities; `majority` counts the most probable label of each member.
        shares: Weight of each member. The weights sum to 1.

    Returns:
        A model from `image` to `logits` float32 (N, 7), the logarithms of the combined probabilities.
    """
    image = keras.Input((CROP_SIZE_PX, CROP_SIZE_PX, 1), dtype="uint8", name="image")
    mean: Any = 0.0
    votes: Any = 0.0
    for index, (model, share) in enumerate(zip(models, shares, strict=True), start=1):
        member = keras.Model(model.input, model.output, name=f"member{index}")
        # The exporter treats the weights of a nested model as constants, which must not require gradients.
        member.trainable = False
        probabilities = keras.ops.softmax(member(image), axis=-1)
        mean = mean + share * probabilities
        is_first = keras.ops.equal(probabilities, keras.ops.max(probabilities, axis=-1, keepdims=True))
        votes = votes + share * keras.ops.cast(is_first, "float32")
    combined = mean if method == "weighted" else (1 - _MEAN_SHARE) * votes + _MEAN_SHARE * mean
    return keras.Model(image, keras.ops.log(combined + _MIN_PROBABILITY), name="ensemble")


def _provenance(config: EnsembleConfig, members: Sequence[Provenance]) -> Provenance:
    commits = dict.fromkeys(member.commit for member in members)
    described: dict[str, Any] = json.loads(config.model_dump_json())
    return members[0].model_copy(
        update={
            "commit": ", ".join(commits),
            "config": described | {"member_configs": [member.config for member in members]},
            "wall_s": round(sum(member.wall_s for member in members), 1),
        }
    )
