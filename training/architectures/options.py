"""The options of a network, with the defaults of its builder filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from training.config import ModelConfig
from training.errors import TrainingError


@dataclass(frozen=True)
class NetworkOptions:
    """The options that a builder receives; see `ModelConfig`.

    A builder uses only the options in its `DEFAULTS`. The values below are for options that a network does not have.
    """

    architecture: str
    widths: tuple[int, ...] = ()
    convolutions_per_stage: int = 2
    stage_dropout: float = 0.0
    head_dropout: float = 0.0
    dense_units: int = 1
    normalisation: Literal["centre", "unit", "dataset", "image"] = "centre"
    input_size_px: int = 48
    pretrained: str | None = None
    freeze_base: bool = False


def resolve_options(config: ModelConfig, defaults: Mapping[str, Any]) -> NetworkOptions:
    """Fill in the defaults of a builder.

    Args:
        config: The model section of a config.
        defaults: The `DEFAULTS` of the builder: every option that the network has.

    Raises:
        TrainingError: The config sets an option that the network does not have.
    """
    schema = type(config).model_fields
    given = {
        field.name: getattr(config, field.name)
        for field in fields(NetworkOptions)
        if field.name != "architecture" and getattr(config, field.name) != schema[field.name].default
    }
    if unknown := given.keys() - defaults.keys():
        raise TrainingError(
            f"{config.architecture} has no {', '.join(sorted(unknown))}; its options are {', '.join(sorted(defaults))}"
        )
    return NetworkOptions(config.architecture, **{**defaults, **given})
