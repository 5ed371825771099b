"""What one training run is made of, as a strict schema over a TOML file.

A config is the whole recipe: with the dataset, the commit and the seed it reproduces a run. Unknown keys are errors.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from app.contract.labels import Emotion
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
    input_size_px: int | None = Field(default=None, ge=32, le=224, description="ImageNet networks: side in the graph")
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
    shear_degrees: float = Field(default=0.0, ge=0, lt=90)
    crop: float = Field(default=0.0, ge=0, lt=1, description="most that is cut off the side; the rest fills the image")
    mixup_alpha: float = Field(default=0.0, ge=0, description="of the beta distribution of shares; 0 mixes nothing")
    blur_probability: float = Field(default=0.0, ge=0, le=1)
    blur_max_sigma: float = Field(default=1.2, gt=0, description="pixels of the training image")
    noise_probability: float = Field(default=0.0, ge=0, le=1)
    noise_max_deviation: float = Field(default=12.0, gt=0, description="grey levels")
    jpeg_probability: float = Field(default=0.0, ge=0, le=1)
    jpeg_min_quality: int = Field(default=25, ge=1, le=100)

    @model_validator(mode="after")
    def _check_zoom(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError("zoom must stand as least, most")
        return self


class OptimizerConfig(_Section):
    """Optimiser and its schedule over the whole run."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(default=True, description="sgd only")
    schedule: Literal["cosine", "one_cycle", "constant", "exponential", "step", "plateau"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear rise; of one_cycle, its first part")
    hold_epochs: float = Field(default=0.0, ge=0, description="exponential and step: before the first decay")
    decay_epochs: float = Field(default=1.0, gt=0, description="exponential and step: per factor")
    decay_factor: float = Field(default=0.1, gt=0, lt=1, description="exponential, step and plateau")
    patience_epochs: int = Field(default=5, ge=1, description="plateau: without a lower loss on PublicTest")

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.schedule == "plateau" and self.warmup_epochs:
            raise ValueError("a plateau schedule has no warm-up")
        return self


class FinishConfig(_Section):
    """Another optimiser for the last epochs, fresh and with a schedule of its own: Adam, then SGD."""

    from_epoch: int = Field(ge=1, description="0-based")
    optimizer: OptimizerConfig


class SizeStep(_Section):
    """From which epoch (0-based) images are trained at which side; the model is always judged at 48."""

    epoch: int = Field(ge=0)
    size_px: int = Field(ge=16, le=96)


class LossConfig(_Section):
    """The loss of the original labels."""

    name: Literal["cross_entropy", "sparse", "focal"] = "cross_entropy"
    focal_gamma: float = Field(default=2.0, ge=0, description="focal only; 0 is cross-entropy")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class BalanceConfig(_Section):
    """What is done about rare labels, apart from weights in the loss."""

    oversample: bool = Field(default=False, description="draw all labels equally often")
    copies_up_to: dict[Emotion, PositiveInt] = Field(
        default_factory=dict, description="images that a label should have; changed copies fill up, made once"
    )


class AdversarialConfig(_Section):
    """Images changed against the network while it trains (fast gradient sign)."""

    epsilon: float = Field(gt=0, lt=1, description="largest change of a pixel, share of 255")
    share: float = Field(default=0.5, gt=0, le=1, description="of each batch")


class CrowdConfig(_Section):
    """A second head that learns the crowd's votes (FER+) for the same images."""

    loss_weight: float = Field(default=1.0, gt=0, description="against the original labels' loss")


class TeachersConfig(_Section):
    """Finished runs whose answers the original labels' head learns beside the labels: distillation."""

    runs: tuple[Path, ...] = Field(min_length=1, description="run folders; their probabilities are averaged")
    share: float = Field(default=0.5, gt=0, le=1, description="of the target; the rest is the label")


class PublishedConfig(_Section):
    """The published system whose recipe this config follows."""

    source: str
    accuracy: float = Field(gt=0, lt=1, description="as reported, on its own choice of test images")
    note: str = Field(default="", description="in what this config differs from the report")


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
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        default="auto", description="auto: mixed_bfloat16 on hardware with bfloat16 arithmetic, float32 elsewhere"
    )
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    loss: LossConfig = LossConfig()
    finish: FinishConfig | None = Field(default=None, description="None: one optimiser for all epochs")
    balance: BalanceConfig = BalanceConfig()
    adversarial: AdversarialConfig | None = Field(default=None, description="None: images as they are")
    crowd: CrowdConfig | None = Field(default=None, description="None: the original labels alone")
    teachers: TeachersConfig | None = Field(default=None, description="None: the labels alone")
    start: Path | None = Field(default=None, description="finished run whose best weights this one begins with")
    progressive_sizes: tuple[SizeStep, ...] = ()
    published: PublishedConfig | None = Field(default=None, description="None: this project's own recipe")

    @property
    def borrowed_runs(self) -> tuple[Path, ...]:
        """Folders of the finished runs whose weights or answers it needs."""
        teachers = self.teachers.runs if self.teachers is not None else ()
        return (*([self.start] if self.start is not None else []), *teachers)

    def is_same_recipe(self, other: TrainConfig) -> bool:
        """Tell whether two configs train the same network in the same way; `auto` equals every precision."""
        if "auto" in (self.precision, other.precision):
            other = other.model_copy(update={"precision": self.precision})
        return self == other

    def size_px(self, epoch: int) -> int:
        """The side of training images in an epoch (0-based)."""
        reached = [step.size_px for step in self.progressive_sizes if step.epoch <= epoch]
        return reached[-1] if reached else CROP_SIZE_PX

    def with_architecture(self, key: str) -> TrainConfig:
        """The same recipe for another network, of its builder's own shape; its name ends in the key."""
        model = ModelConfig(architecture=key)
        return self.model_copy(update={"name": f"{self.name}_{key}", "model": model, "published": None})

    def with_seed_in_paths(self) -> TrainConfig:
        """The same with the seed in the place of `{seed}` in the folders of the runs that it builds on."""

        def named(run: Path) -> Path:
            return Path(str(run).replace("{seed}", str(self.seed)))

        start = named(self.start) if self.start is not None else None
        teachers = self.teachers
        if teachers is not None:
            teachers = teachers.model_copy(update={"runs": tuple(map(named, teachers.runs))})
        return self.model_copy(update={"start": start, "teachers": teachers})

    def optimizer_of(self, epoch: int) -> tuple[OptimizerConfig, int, int]:
        """The optimiser of an epoch (0-based), and the first and the number of the epochs that it has."""
        if self.finish is None:
            return self.optimizer, 0, self.epochs
        if epoch < self.finish.from_epoch:
            return self.optimizer, 0, self.finish.from_epoch
        return self.finish.optimizer, self.finish.from_epoch, self.epochs - self.finish.from_epoch

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.finish is not None and self.finish.from_epoch >= self.epochs:
            raise ValueError("finish.from_epoch must come before the last of the epochs")
        if self.loss.name == "sparse" and (self.loss.label_smoothing or self.augment.mixup_alpha):
            raise ValueError("sparse targets are whole labels: no label_smoothing and no mixup_alpha")
        if self.loss.name == "sparse" and self.teachers is not None:
            raise ValueError("sparse targets are whole labels: no teachers")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        epochs = [step.epoch for step in self.progressive_sizes]
        if epochs != sorted(set(epochs)):
            raise ValueError("progressive_sizes must stand in the order of their epochs, each epoch once")
        return self


def load_config(path: Path, seed: int | None = None) -> TrainConfig:
    """Reads and checks a config.

    Args:
        path: A TOML file. `{seed}` in the folders of `start` and `teachers` stands for the seed, so that a chain of
            runs can be repeated with another one.
        seed: Instead of the file's own.

    Raises:
        TrainingError: The file is missing, is no TOML or breaks the schema; the message names every bad key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"config {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"config {path} is not valid TOML: {error}") from error
    if seed is not None:
        table["seed"] = seed
    try:
        return TrainConfig.model_validate(table).with_seed_in_paths()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'document'}: {item['msg']}. Received: {item['input']!r}"
            for item in error.errors()
        )
        raise TrainingError(f"config {path}: {problems}") from error
