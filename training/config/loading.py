"""Read a config from the TOML file of a user, or from the records of a finished run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from training.config.recipe import TrainConfig
from training.config.renames import with_current_names
from training.config.sections import Section
from training.errors import TrainingError

# Entries that export adds to the config in a manifest.
_ADDED_BY_EXPORT = frozenset({"parent_runs", "restored_from", "warm_start_config"})

SectionT = TypeVar("SectionT", bound=Section)


def load_section(schema: type[SectionT], path: Path, kind: str) -> SectionT:
    """Read and check a TOML file.

    Args:
        schema: Schema of the whole file.
        path: A TOML file.
        kind: What the file describes, such as `plan`; for the message.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema. The message names every wrong key.
    """
    return parse_section(schema, _read_table(path, kind), f"{kind} {path}")


def parse_section(schema: type[SectionT], table: Mapping[str, Any], source: str) -> SectionT:
    """Check a table.

    Args:
        schema: Schema of the table.
        table: The table, as read from TOML or JSON.
        source: Beginning of the message of an error.

    Raises:
        TrainingError: The table breaks the schema. The message names every wrong key.
    """
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        raise TrainingError(f"{source}: {_describe_problems(error)}") from error


def load_config(path: Path, seed: int | None = None) -> TrainConfig:
    """Read and check a config.

    Args:
        path: A TOML file. The seed replaces `{seed}` in the folders of `warm_start` and `distillation`, so that a
            chain of runs can be repeated with another seed.
        seed: Replaces the seed of the file.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema. The message names every wrong key.
    """
    table = with_current_names(_read_table(path, "config"))
    if seed is not None:
        table["seed"] = seed
    return parse_section(TrainConfig, table, f"config {path}").with_seed_in_paths()


def load_recipe(
    path: Path, defaults: Mapping[str, Any], required: Mapping[str, Any], replaced: Mapping[str, Any]
) -> TrainConfig:
    """Read a recipe for fine-tuning: a config without the keys that the model decides.

    Args:
        path: A TOML file.
        defaults: Values of keys that the file may leave out.
        required: Values of keys that the file must not have.
        replaced: Values that replace those of the file; None replaces nothing.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema, or has a key that the model decides.
    """
    table = with_current_names(_read_table(path, "recipe"))
    if extra := sorted(required.keys() & table.keys()):
        raise TrainingError(
            f"recipe {path}: expected no {', '.join(required)}, because fine-tune takes them from the model and its"
            f" options. Received: {', '.join(extra)}"
        )
    given = {name: value for name, value in replaced.items() if value is not None}
    return parse_section(TrainConfig, {**defaults, **table, **required, **given}, f"recipe {path}")


def load_recorded_config(record: Mapping[str, Any]) -> TrainConfig:
    """Return the config in the `config.json` of a run folder or in the provenance of a manifest.

    Args:
        record: The JSON object, of this version or of version 1.

    Raises:
        TrainingError: The config does not fit this version's schema.
    """
    own = {name: value for name, value in with_current_names(record).items() if name not in _ADDED_BY_EXPORT}
    return parse_section(TrainConfig, own, "the config does not fit this version's schema")


def _read_table(path: Path, kind: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{kind} {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{kind} {path} is not valid TOML: {error}") from error


def _describe_problems(error: ValidationError) -> str:
    """Return all problems that validation found, as one line: place, problem and received value of each."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'document'}: {item['msg']}. Received: {item['input']!r}"
        for item in error.errors()
    )
