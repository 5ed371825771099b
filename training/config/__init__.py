"""The schema of a training run, as a TOML file. A config, the dataset, the commit and the seed reproduce a run."""

from training.config.loading import load_config, load_recipe, load_recorded_config, load_section, parse_section
from training.config.recipe import TrainConfig
from training.config.renames import with_current_names
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
    SharpnessAwareConfig,
    SizeStep,
)

__all__ = [
    "AdversarialConfig",
    "AnnotatorVotesConfig",
    "AugmentConfig",
    "BalanceConfig",
    "DistillationConfig",
    "FineTuningConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PublishedConfig",
    "SharpnessAwareConfig",
    "SizeStep",
    "TrainConfig",
    "load_config",
    "load_recipe",
    "load_recorded_config",
    "load_section",
    "parse_section",
    "with_current_names",
]
