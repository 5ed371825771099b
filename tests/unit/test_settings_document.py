"""docs/settings.md lists every setting, and README.md lists none that does not exist."""

from __future__ import annotations

import re

from app.config import ENV_PREFIX, Settings
from tests.support.paths import REPOSITORY

SETTINGS = {ENV_PREFIX + name.upper() for name in Settings.model_fields}


def named_in_table(document: str) -> set[str]:
    rows = [line for line in (REPOSITORY / document).read_text().splitlines() if line.startswith("| `FER_")]
    return {name for row in rows for name in re.findall(r"`(FER_\w+)`", row.split("|")[1])}


def test_settings_document_lists_every_setting():
    assert named_in_table("docs/settings.md") == SETTINGS


def test_readme_lists_only_settings_that_exist():
    named = named_in_table("README.md") - {"FER_MODEL"}
    assert len(named) > 10
    assert named <= SETTINGS
