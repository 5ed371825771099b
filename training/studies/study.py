"""Configuration of a hyper-parameter study: a TOML file with a base recipe and the options to search."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from training.config import TrainConfig, load_section, parse_section
from training.config.sections import Section
from training.errors import TrainingError


class ParameterConfig(Section):
    """Search space of one option: a range or a list of choices."""

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[bool | int | float | str, ...] = ()

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.low is None) != (self.high is None) or (self.low is not None) == bool(self.choices):
            raise ValueError("a parameter has either low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class StudyConfig(Section):
    """One study.

    Attributes:
        base: Recipe to vary; in the TOML file, a path relative to that file.
        epochs: Epochs of every trial, instead of the base's.
        parameters: Search spaces by dotted option name, for example `optimizer.learning_rate`.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    base: Path
    seed: int = Field(ge=0)
    trials: PositiveInt
    epochs: PositiveInt
    warmup_trials: PositiveInt = Field(default=5, description="random trials at the start; they are never pruned")
    parameters: dict[str, ParameterConfig] = Field(min_length=1)


def load_study(path: Path) -> StudyConfig:
    """Read a study from a TOML file.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema.
    """
    study = load_section(StudyConfig, path, "study")
    return study.model_copy(update={"base": path.parent / study.base})


def trial_recipe(base: TrainConfig, study: StudyConfig, values: dict[str, Any]) -> TrainConfig:
    """Return the base recipe with other values. Its name contains a hash of the values.

    Raises:
        TrainingError: An option is unknown, or a value breaks the schema of the recipe.
    """
    table = base.model_dump(mode="json") | {"epochs": study.epochs}
    for name, value in values.items():
        section: Any = table
        *path, last = name.split(".")
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise TrainingError(f"study {study.name}: {name} is not an option of the recipe {base.name}")
        section[last] = value
    digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:10]
    named = table | {"name": f"{study.name}_{digest}"}
    return parse_section(TrainConfig, named, f"study {study.name}, {values}")
