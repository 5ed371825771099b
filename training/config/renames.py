"""The names of version 1, so that its run folders, configs and manifests can still be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The only place where the old names may stand: they are keys of files that users already have.
_NEW_NAMES = {
    "borrowed_weights": "parent_runs",
    "crowd": "annotator_votes",
    "finish": "fine_tuning",
    "start": "warm_start",
    "start_config": "warm_start_config",
    "teachers": "distillation",
    "val_crowd_accuracy": "val_annotator_accuracy",
}


def with_current_names(document: Any) -> Any:
    """Return a copy of a config, a provenance or a history in which every old key has its current name.

    Args:
        document: Anything that JSON or TOML can express; keys are renamed at every depth, values never.
    """
    if isinstance(document, Mapping):
        return {_NEW_NAMES.get(key, key): with_current_names(value) for key, value in document.items()}
    if isinstance(document, list):
        return [with_current_names(item) for item in document]
    return document
