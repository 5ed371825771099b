"""Several finished runs as one network in one ONNX file: their probabilities averaged, or their votes counted."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import keras
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from app.contract.manifest import Manifest, Precision, Provenance
from app.contract.preprocess import CROP_SIZE_PX
from training import architectures
from training.architectures.heads import Head, build_with_heads, single_head
from training.data.fer2013 import Fer2013
from training.errors import TrainingError
from training.export.pipeline import provenance_of, ship
from training.fit.run_folder import RunFolder

Method = Literal["weighted", "majority"]

# Of a majority vote's share of labels without a vote: ties go to the higher mean probability, and no logarithm is of 0.
_MEAN_SHARE = 0.01
_LEAST_PROBABILITY = 1e-7


class EnsembleConfig(BaseModel):
    """Which runs, and how they agree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    members: tuple[Path, ...] = Field(min_length=2, description="run folders")
    method: Method = "weighted"
    weights: tuple[PositiveFloat, ...] | None = Field(default=None, description="one for each member; None for equal")

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError("weights must be as many as members")
        return self

    def shares(self) -> list[float]:
        """The weights of the members, summing to 1."""
        weights = self.weights or (1.0,) * len(self.members)
        return [weight / sum(weights) for weight in weights]


@dataclass(frozen=True)
class _Member:
    """A finished run in both forms, and where it came from."""

    trained: keras.Model
    served: keras.Model
    provenance: Provenance


def load_ensemble(path: Path) -> EnsembleConfig:
    """Reads and checks a TOML file.

    Raises:
        TrainingError: It is missing, is no TOML or breaks the schema.
    """
    try:
        return EnsembleConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TrainingError(f"ensemble {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise TrainingError(f"ensemble {path} is not valid: {error}") from error


def export_ensemble(
    config: EnsembleConfig, dataset: Fer2013, model_path: Path, precision: Precision = "float32"
) -> Manifest:
    """Exports the members as one ONNX file with its manifest, as `training.export.pipeline` does for one run.

    Raises:
        TrainingError: A member is not finished or was trained on other data, or ONNX and Keras differ.
    """
    keras.config.set_dtype_policy("float32")
    members = [_load(RunFolder(path)) for path in config.members]
    if len({member.provenance.dataset["sha256"] for member in members}) > 1:
        raise TrainingError(f"the members of {config.name} were trained on different data")
    trained, served = (
        combine([getattr(member, form) for member in members], config.method, config.shares())
        for form in ("trained", "served")
    )
    provenance = _provenance(config, members)
    return ship(trained, served, provenance, dataset, model_path, precision=precision, plain=False)


def served_ensemble(config: EnsembleConfig) -> keras.Model:
    """The SERVED form, with its weights, for counting what it costs."""
    keras.config.set_dtype_policy("float32")
    members = [_load(RunFolder(path)).served for path in config.members]
    return combine(members, config.method, config.shares())


def combine(models: Sequence[keras.Model], method: Method, shares: Sequence[float]) -> keras.Model:
    """One network that asks all.

    Args:
        models: From `image` uint8 (N, 48, 48, 1) to logits (N, 7).
        method: `weighted` averages probabilities; `majority` counts, for each member, its first choice.
        shares: How much each member counts; they sum to 1.

    Returns:
        A model from `image` to `logits` float32 (N, 7): logarithms of the agreed probabilities.
    """
    image = keras.Input((CROP_SIZE_PX, CROP_SIZE_PX, 1), dtype="uint8", name="image")
    mean: Any = 0.0
    votes: Any = 0.0
    for index, (model, share) in enumerate(zip(models, shares, strict=True), start=1):
        member = keras.Model(model.input, model.output, name=f"member{index}")
        # The exporter takes the weights of a model within a model for constants, which must not ask for gradients.
        member.trainable = False
        probabilities = keras.ops.softmax(member(image), axis=-1)
        mean = mean + share * probabilities
        first = keras.ops.equal(probabilities, keras.ops.max(probabilities, axis=-1, keepdims=True))
        votes = votes + share * keras.ops.cast(first, "float32")
    agreed = mean if method == "weighted" else (1 - _MEAN_SHARE) * votes + _MEAN_SHARE * mean
    return keras.Model(image, keras.ops.log(agreed + _LEAST_PROBABILITY), name="ensemble")


def _load(run: RunFolder) -> _Member:
    config = run.read_config()
    if not run.report.exists():
        raise TrainingError(f"{run.path} is not finished: it has no {run.report.name}. Train it to its end first.")
    with_heads = build_with_heads(config)
    with_heads.load_weights(run.best_weights)
    trained = single_head(with_heads, Head.ORIGINAL)
    return _Member(trained, architectures.fold(trained, config.model), provenance_of(run, config))


def _provenance(config: EnsembleConfig, members: Sequence[_Member]) -> Provenance:
    first = members[0].provenance
    commits = dict.fromkeys(member.provenance.commit for member in members)
    described: dict[str, Any] = json.loads(config.model_dump_json())
    return first.model_copy(
        update={
            "commit": ", ".join(commits),
            "config": described | {"member_configs": [member.provenance.config for member in members]},
            "wall_s": round(sum(member.provenance.wall_s for member in members), 1),
        }
    )
