"""The config of one training run: the whole recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from app.contract.preprocess import CROP_SIZE_PX
from training.config.sections import (
    AdversarialConfig,
    AnnotatorVotesConfig,
    AugmentConfig,
    BalanceConfig,
    DistillationConfig,
    FineTuningConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PublishedConfig,
    Section,
    SharpnessAwareConfig,
    SizeStep,
)


class TrainConfig(Section):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    seed: int = Field(ge=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    early_stopping_patience: int | None = Field(default=None, ge=1, description="epochs; None: train to the end")
    ema_momentum: float | None = Field(
        default=None, gt=0, lt=1, description="of the moving average of the weights, which is validated and kept"
    )
    averaged_epochs: int | None = Field(
        default=None,
        ge=1,
        description="number of last epochs whose mean weights are the result; None: the weights of the best epoch",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        default="auto", description="auto: mixed_bfloat16 on hardware with bfloat16 arithmetic, float32 elsewhere"
    )
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    loss: LossConfig = LossConfig()
    fine_tuning: FineTuningConfig | None = Field(default=None, description="None: one optimiser for all epochs")
    balance: BalanceConfig = BalanceConfig()
    adversarial: AdversarialConfig | None = Field(default=None, description="None: no adversarial images")
    sharpness_aware: SharpnessAwareConfig | None = Field(default=None, description="None: one pass for each batch")
    annotator_votes: AnnotatorVotesConfig | None = Field(default=None, description="None: only the original labels")
    distillation: DistillationConfig | None = Field(default=None, description="None: targets are the labels only")
    warm_start: Path | None = Field(default=None, description="finished run whose weights are the first weights")
    frozen_layers: tuple[str, ...] = Field(
        default=(), description="layers that keep their first weights: those whose names begin with one of these"
    )
    progressive_sizes: tuple[SizeStep, ...] = ()
    validation_size: Literal["crop", "training"] = Field(
        default="crop",
        description="side of validation images: of the service's face crop, or of the training images of the epoch",
    )
    published: PublishedConfig | None = Field(default=None, description="None: a recipe of this project")

    @property
    def parent_runs(self) -> tuple[Path, ...]:
        """Folders of the finished runs that this run reads: for its warm start and for distillation."""
        warm_start = (self.warm_start,) if self.warm_start is not None else ()
        return (*warm_start, *(self.distillation.runs if self.distillation is not None else ()))

    @property
    def run_name(self) -> str:
        """Name of the folder of a run: `<name>-seed<seed>`."""
        return f"{self.name}-seed{self.seed}"

    def is_same_recipe(self, other: TrainConfig) -> bool:
        """Tell whether two configs train the same network in the same way.

        The precision `auto` equals every precision, and `published`, which only describes the recipe, is ignored.
        """
        precision = self.precision if "auto" in (self.precision, other.precision) else other.precision
        return self == other.model_copy(update={"precision": precision, "published": self.published})

    def size_px(self, epoch: int) -> int:
        """Return the side of training images in an epoch (0-based)."""
        reached = [step.size_px for step in self.progressive_sizes if step.epoch <= epoch]
        return reached[-1] if reached else CROP_SIZE_PX

    def validation_size_px(self, epoch: int) -> int:
        """Return the side of validation images in an epoch (0-based)."""
        return self.size_px(epoch) if self.validation_size == "training" else CROP_SIZE_PX

    def is_sharpness_aware(self, epoch: int) -> bool:
        """Tell whether an epoch (0-based) has two gradient passes for each batch."""
        return self.sharpness_aware is not None and epoch >= self.epochs - self.sharpness_aware.last_epochs

    @property
    def first_averaged_epoch(self) -> int:
        """The first epoch (0-based) whose weights are part of the mean; `epochs` without a mean."""
        return self.epochs - (self.averaged_epochs or 0)

    def with_architecture(self, key: str) -> TrainConfig:
        """Return the same recipe for another network with its default options; its name ends in the key."""
        model = ModelConfig(architecture=key)
        return self.model_copy(update={"name": f"{self.name}_{key}", "model": model, "published": None})

    def with_epochs(self, epochs: int) -> TrainConfig:
        """Return the same recipe for another number of epochs; its sizes, phases and schedules are scaled with it."""
        scale = epochs / self.epochs

        def scaled(number: int | None) -> int | None:
            return None if number is None else max(1, round(number * scale))

        table: dict[str, Any] = self.model_dump() | {"epochs": epochs, "averaged_epochs": scaled(self.averaged_epochs)}
        # Two steps can fall into the same epoch; the last one then counts.
        sizes = {min(round(step.epoch * scale), epochs - 1): step.size_px for step in self.progressive_sizes}
        table["progressive_sizes"] = [{"epoch": epoch, "size_px": size_px} for epoch, size_px in sizes.items()]
        if table["averaged_epochs"] is not None:
            table["averaged_epochs"] = min(table["averaged_epochs"], epochs - max(sizes, default=0))
        if self.sharpness_aware is not None:
            table["sharpness_aware"]["last_epochs"] = scaled(self.sharpness_aware.last_epochs)
        optimizers = [table["optimizer"]]
        if self.fine_tuning is not None:
            table["fine_tuning"]["from_epoch"] = scaled(self.fine_tuning.from_epoch)
            optimizers.append(table["fine_tuning"]["optimizer"])
        for optimizer in optimizers:
            for key in ("warmup_epochs", "hold_epochs", "decay_epochs"):
                optimizer[key] *= scale
        return TrainConfig.model_validate(table)

    def with_seed_in_paths(self) -> TrainConfig:
        """Return a copy in which the seed replaces `{seed}` in the folders of the parent runs."""

        def filled(run: Path) -> Path:
            return Path(str(run).replace("{seed}", str(self.seed)))

        distillation = self.distillation
        if distillation is not None:
            distillation = distillation.model_copy(update={"runs": tuple(map(filled, distillation.runs))})
        warm_start = filled(self.warm_start) if self.warm_start is not None else None
        return self.model_copy(update={"warm_start": warm_start, "distillation": distillation})

    def optimizer_of(self, epoch: int) -> tuple[OptimizerConfig, int, int]:
        """Return the optimiser of an epoch (0-based), and the first and the number of the epochs that it trains."""
        if self.fine_tuning is None:
            return self.optimizer, 0, self.epochs
        first = self.fine_tuning.from_epoch
        if epoch < first:
            return self.optimizer, 0, first
        return self.fine_tuning.optimizer, first, self.epochs - first

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.fine_tuning is not None and self.fine_tuning.from_epoch >= self.epochs:
            raise ValueError("fine_tuning.from_epoch must be less than epochs")
        if self.loss.name == "sparse" and (self.loss.label_smoothing or self.augment.mixes):
            raise ValueError("the loss `sparse` takes whole labels: remove label_smoothing, mixup and CutMix")
        if self.loss.name == "sparse" and self.distillation is not None:
            raise ValueError("the loss `sparse` takes whole labels: remove distillation")
        if self.loss.name == "sparse" and self.annotator_votes is not None and self.annotator_votes.label_share:
            raise ValueError("the loss `sparse` takes whole labels: remove annotator_votes.label_share")
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        balanced = self.loss.class_weights == "balanced" or self.balance.oversample
        if self.loss.logit_adjustment and balanced:
            raise ValueError("choose one way to balance: logit_adjustment, class_weights or oversample")
        return self

    @model_validator(mode="after")
    def _check_last_epochs(self) -> Self:
        if self.sharpness_aware is not None and self.sharpness_aware.last_epochs > self.epochs:
            raise ValueError("sharpness_aware.last_epochs must be at most epochs")
        if self.averaged_epochs is None:
            return self
        if self.early_stopping_patience is not None:
            raise ValueError("averaged_epochs needs all epochs: remove early_stopping_patience")
        first = self.first_averaged_epoch
        if first < 0 or self.size_px(first) != self.size_px(self.epochs - 1):
            raise ValueError("averaged_epochs must be at most epochs, and all of them must have the same image size")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        epochs = [step.epoch for step in self.progressive_sizes]
        if epochs != sorted(set(epochs)):
            raise ValueError("progressive_sizes must be in the order of their epochs, with each epoch once")
        return self
