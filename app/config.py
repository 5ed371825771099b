"""The service's settings: environment variables with the prefix FER_, read once at start-up.

Built in `app.main` or `app.__main__` and passed down; never imported as a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "FER_"
_SECRET_FIELDS = frozenset({"api_keys", "admin_keys"})

Device = Literal["cpu", "cuda", "auto"]
LogFormat = Literal["text", "json"]


class SettingsError(Exception):
    """An environment variable that the service cannot start with. The message names it."""


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class Settings(BaseSettings):
    """Everything that an operator can set. Field `max_body_bytes` is the variable FER_MAX_BODY_BYTES, and so on."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes any free port")
    model: Path = Path("models/fer_vgg.onnx")
    device: Device = "auto"
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_pixels: int = Field(default=40_000_000, ge=64)
    max_images: int = Field(default=32, ge=1)
    max_batch: int = Field(default=64, ge=1, le=1024)
    max_queue: int = Field(default=256, ge=1)
    deadline_ms: int = Field(default=5000, ge=1)
    drain_s: float = Field(default=5.0, ge=0)
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_commas)] = ()
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_commas)] = Field(
        default=(), description="open POST /admin/reload, which is not there without them"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)] = ()
    log_format: LogFormat | None = Field(default=None, description="None: text on a terminal, else json")
    web: bool = Field(default=True, description="serve the page at /")
    compat: bool = Field(default=True, description="also answer as DeepFace, Rekognition, Azure Face and KServe do")
    tracing: bool | None = Field(default=None, description="None: where an OTEL_EXPORTER_OTLP_ENDPOINT is set")
    protect_metrics: bool = Field(default=False, description="ask for an API key on /metrics too")


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Reads the settings out of the process environment.

    Args:
        environment: Usually `os.environ`, which pydantic-settings reads the values from; checked here for names
            with the prefix that no setting has.

    Raises:
        SettingsError: A name is unknown or a value is bad; the message names every one, secrets left out.
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in environment if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem) for problem in error.errors())) from error


def _describe(problem: Any) -> str:
    field = str(problem["loc"][0])
    received = "" if field in _SECRET_FIELDS else f". Received: {problem['input']!r}"
    return f"{ENV_PREFIX}{field.upper()}: {problem['msg']}{received}"
