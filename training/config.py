"""What one training run is made of, as a strict schema over a TOML file.

A config is the whole recipe: with the dataset, the commit and the seed it reproduces a run. Unknown keys are errors.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from app.contract.preprocess import CROP_SIZE_PX
from training.errors import TrainingError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Section):
    """Which builder of `training.architectures` makes the network, and with what shape.

    What is left out is the builder's own; an option that the network does not have is refused when it is built.
    """

    architecture: str
    widths: tuple[int, ...] | None = Field(default=None, min_length=1, description="channels of each stage")
    convolutions_per_stage: int = Field(default=2, ge=1)
    stage_dropout: float | None = Field(default=None, ge=0, lt=1)
    head_dropout: float | None = Field(default=None, ge=0, lt=1)
    dense_units: int | None = Field(default=None, ge=1, description="of the head's hidden layer")
    normalisation: Literal["centre", "unit", "dataset", "image"] | None = Field(
        default=None,
        description="grey levels to -2..2, to 0..1, by the mean and deviation of Training, or by each image's own",
    )
    input_size_px: int | None = Field(default=None, ge=32, le=224, description="ImageNet networks: scaled in the graph")
    pretrained: str | None = Field(default=None, description="ImageNet networks: `imagenet` or a weights file")
    freeze_base: bool | None = Field(default=None, description="ImageNet networks: only the head learns")


class AugmentConfig(_Section):
    """Random changes to a training image. Amounts are half-widths of uniform ranges around "no change"."""

    flip_probability: float = Field(default=0.0, ge=0, le=1)
    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    zoom: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="least and most; the logarithm is uniform; above 1 the face grows"
    )
    shift: float = Field(default=0.0, ge=0, lt=1, description="share of the side")
    brightness: float = Field(default=0.0, ge=0, le=1, description="share of 255")
    contrast: float = Field(default=0.0, ge=0, lt=1)
    erase_probability: float = Field(default=0.0, ge=0, le=1)
    erase_max_area: float = Field(default=0.2, gt=0, lt=1, description="share of the image")

    @model_validator(mode="after")
    def _check_zoom(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError("zoom must stand as least, most")
        return self


class OptimizerConfig(_Section):
    """Optimiser and its schedule over the whole run."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only; Nesterov")
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)


class SizeStep(_Section):
    """From which epoch (0-based) images are trained at which side; the model is always judged at 48."""

    epoch: int = Field(ge=0)
    size_px: int = Field(ge=16, le=96)


class LossConfig(_Section):
    """Cross-entropy against one-hot labels."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class CrowdConfig(_Section):
    """A second head that learns the crowd's votes (FER+) for the same images."""

    loss_weight: float = Field(default=1.0, gt=0, description="against the original labels' loss")


class TrainConfig(_Section):
    """One run."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    seed: int = Field(ge=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    early_stopping_patience: int | None = Field(default=None, ge=1, description="epochs; None trains to the end")
    ema_momentum: float | None = Field(
        default=None, gt=0, lt=1, description="moving average of the weights, which is what is judged and kept"
    )
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    loss: LossConfig = LossConfig()
    crowd: CrowdConfig | None = Field(default=None, description="None: the original labels alone")
    progressive_sizes: tuple[SizeStep, ...] = ()

    def size_px(self, epoch: int) -> int:
        """The side of training images in an epoch (0-based)."""
        reached = [step.size_px for step in self.progressive_sizes if step.epoch <= epoch]
        return reached[-1] if reached else CROP_SIZE_PX

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        epochs = [step.epoch for step in self.progressive_sizes]
        if epochs != sorted(set(epochs)):
            raise ValueError("progressive_sizes must stand in the order of their epochs, each epoch once")
        return self


def load_config(path: Path) -> TrainConfig:
    """Reads and checks a config.

    Raises:
        TrainingError: The file is missing, is no TOML or breaks the schema; the message names every bad key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"config {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"config {path} is not valid TOML: {error}") from error
    try:
        return TrainConfig.model_validate(table)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'document'}: {item['msg']}. Received: {item['input']!r}"
            for item in error.errors()
        )
        raise TrainingError(f"config {path}: {problems}") from error
