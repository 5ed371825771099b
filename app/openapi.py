"""`python -m app.openapi`: print the OpenAPI document with all optional routes. `openapi.json` holds the output."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import SecretStr

from app.config import Settings
from app.main import create_app


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the service with default settings and the admin routes."""
    defaults = {name: field.get_default() for name, field in Settings.model_fields.items()}
    settings = Settings.model_construct(**(defaults | {"admin_keys": (SecretStr("example"),)}))
    return create_app(settings).openapi()


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2, ensure_ascii=False)
    print()
