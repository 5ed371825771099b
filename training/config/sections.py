"""The sections of a config. An option that is left out has no effect on the run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from app.contract.labels import Emotion


class Section(BaseModel):
    """A part of a config. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    """The network: a builder of `training.architectures` and its options.

    The builder's default replaces an option that is left out. `training.architectures.build` refuses an option that the
    network does not have.
    """

    architecture: str
    widths: tuple[int, ...] | None = Field(default=None, min_length=1, description="channels of each stage")
    convolutions_per_stage: int = Field(default=2, ge=1)
    stage_dropout: float | None = Field(default=None, ge=0, lt=1)
    head_dropout: float | None = Field(default=None, ge=0, lt=1)
    dense_units: int | None = Field(default=None, ge=1, description="width of the head's hidden layer")
    normalisation: Literal["centre", "unit", "dataset", "image"] | None = Field(
        default=None,
        description="grey levels scaled to -2..2, to 0..1, or by the mean and deviation of Training or of the image",
    )
    input_size_px: int | None = Field(default=None, ge=32, le=224, description="ImageNet networks: side in the graph")
    pretrained: str | None = Field(default=None, description="ImageNet networks: `imagenet` or a weights file")
    freeze_base: bool | None = Field(default=None, description="ImageNet networks: train only the head")


class AugmentConfig(Section):
    """Random changes to a training image. Amounts are half-widths of uniform ranges around "no change"."""

    flip_probability: float = Field(default=0.0, ge=0, le=1)
    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    zoom: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="smallest and largest factor, drawn log-uniformly; above 1 the face grows"
    )
    shift: float = Field(default=0.0, ge=0, lt=1, description="share of the side")
    brightness: float = Field(default=0.0, ge=0, le=1, description="share of 255")
    contrast: float = Field(default=0.0, ge=0, lt=1)
    erase_probability: float = Field(default=0.0, ge=0, le=1)
    erase_max_area: float = Field(default=0.2, gt=0, lt=1, description="share of the image")
    shear_degrees: float = Field(default=0.0, ge=0, lt=90)
    crop: float = Field(default=0.0, ge=0, lt=1, description="largest share of the side that is cut off")
    mixup_alpha: float = Field(default=0.0, ge=0, description="of the beta distribution of shares; 0: no mixup")
    cutmix_alpha: float = Field(default=0.0, ge=0, description="of the beta distribution of areas; 0: no CutMix")
    cutmix_share: float = Field(
        default=0.5, gt=0, lt=1, description="share of the batches that CutMix mixes if mixup is set too"
    )
    blur_probability: float = Field(default=0.0, ge=0, le=1)
    blur_max_sigma: float = Field(default=1.2, gt=0, description="pixels of the training image")
    noise_probability: float = Field(default=0.0, ge=0, le=1)
    noise_max_deviation: float = Field(default=12.0, gt=0, description="grey levels")
    jpeg_probability: float = Field(default=0.0, ge=0, le=1)
    jpeg_min_quality: int = Field(default=25, ge=1, le=100)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    @model_validator(mode="after")
    def _check_zoom(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError("zoom must be [smallest, largest]")
        return self


class OptimizerConfig(Section):
    """An optimiser and its learning-rate schedule over the epochs that it has."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(default=True, description="sgd only")
    schedule: Literal["cosine", "one_cycle", "constant", "exponential", "step", "plateau"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear rise; for one_cycle, its first part")
    hold_epochs: float = Field(default=0.0, ge=0, description="exponential and step: epochs before the first decay")
    decay_epochs: float = Field(default=1.0, gt=0, description="exponential and step: epochs per decay_factor")
    decay_factor: float = Field(default=0.1, gt=0, lt=1, description="exponential, step and plateau")
    patience_epochs: int = Field(default=5, ge=1, description="plateau: epochs without a lower loss on PublicTest")

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.schedule == "plateau" and self.warmup_epochs:
            raise ValueError("a plateau schedule has no warm-up: set warmup_epochs = 0")
        return self


class FineTuningConfig(Section):
    """A fine-tuning phase: the last epochs have a new optimiser with its own schedule, such as SGD after Adam."""

    from_epoch: int = Field(ge=1, description="first epoch of the phase, 0-based")
    optimizer: OptimizerConfig


class SizeStep(Section):
    """The side of training images from an epoch on. `validation_size` selects the side of validation images."""

    epoch: int = Field(ge=0, description="0-based")
    size_px: int = Field(ge=16, le=96)


class LossConfig(Section):
    """The loss of the original labels."""

    name: Literal["cross_entropy", "sparse", "focal"] = "cross_entropy"
    focal_gamma: float = Field(default=2.0, ge=0, description="focal only; 0 is cross-entropy")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    logit_adjustment: float = Field(
        default=0.0,
        ge=0,
        description="factor of log(share of the label in Training), added to the logits in the loss; 1: every label"
        " counts the same in the best answer",
    )


class BalanceConfig(Section):
    """How rare labels are balanced, apart from weights in the loss."""

    oversample: bool = Field(default=False, description="draw all labels equally often")
    copies_up_to: dict[Emotion, PositiveInt] = Field(
        default_factory=dict, description="number of images per label that augmented copies fill up to, once"
    )


class AdversarialConfig(Section):
    """Adversarial training: some images of each batch are changed to raise the loss (fast gradient sign)."""

    epsilon: float = Field(gt=0, lt=1, description="largest change of a pixel, as a share of 255")
    share: float = Field(default=0.5, gt=0, le=1, description="share of each batch")


class AnnotatorVotesConfig(Section):
    """A second head that learns the annotator votes (FER+) for the same images."""

    loss_weight: float = Field(default=1.0, gt=0, description="relative to the loss of the original labels")
    label_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the original labels' target that is the label expected from the votes of the image",
    )


class DistillationConfig(Section):
    """Finished networks whose predictions are part of the targets of the original labels' head."""

    runs: tuple[Path, ...] = Field(
        min_length=1, description="run folders or exported ONNX files; their probabilities are averaged"
    )
    share: float = Field(default=0.5, gt=0, le=1, description="share of the target; the label is the rest")
    images: Literal["original", "augmented"] = Field(
        default="original",
        description="what the networks predict: Training images with their mirror images, once; or every augmented and"
        " mixed batch as the student sees it (consistent distillation)",
    )


class SharpnessAwareConfig(Section):
    """Sharpness-aware minimisation (SAM) in the last epochs, with two gradient passes for each batch."""

    last_epochs: int = Field(ge=1, description="number of epochs")
    radius: float = Field(default=0.05, gt=0, description="length of the step to the weights of the second pass")


class PublishedConfig(Section):
    """The published system whose recipe a config follows."""

    source: str
    accuracy: float = Field(gt=0, lt=1, description="as reported, on the report's own test images")
    note: str = Field(default="", description="differences between this config and the report")
