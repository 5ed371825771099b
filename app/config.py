"""The settings of the service: environment variables with the prefix FER_, read once at start-up.

`app.__main__` or `app.main` loads the settings and passes them down; no module imports them as a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "FER_"
_KEY = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_SECRET_FIELDS = frozenset({"api_keys", "admin_keys"})

Device = Literal["cpu", "cuda", "auto"]
LogFormat = Literal["text", "json"]


class SettingsError(Exception):
    """A setting with which the service cannot start. The message names the setting."""


def _split_commas(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if value.strip() and not parts:
        raise ValueError("expected no value, or values separated by commas")
    return parts


def _check_key(key: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(key.get_secret_value()):
        raise ValueError("expected keys of printable ASCII characters without spaces, as headers can carry them")
    return key


def _check_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("expected * or origins in the form scheme://host or scheme://host:port")
    return origin


_Keys = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_key)], ...], NoDecode, BeforeValidator(_split_commas)
]


class Settings(BaseSettings):
    """All settings. The field `max_body_bytes` is the variable FER_MAX_BODY_BYTES; the others likewise."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes any free port")
    model: Path = Path("models/fer_vgg.onnx")
    device: Device = "auto"
    max_body_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
    max_pixels: int = Field(default=40_000_000, ge=64)
    max_images: int = Field(default=32, ge=1)
    max_batch: int = Field(default=64, ge=1, le=1024)
    max_queue: int = Field(default=256, ge=1)
    max_inflight_per_key: int | None = Field(
        default=None, ge=1, description="largest number of requests in progress with one API key; None: no limit"
    )
    deadline_ms: int = Field(default=5000, ge=1)
    drain_s: float = Field(default=5.0, ge=0, le=86_400)
    api_keys: _Keys = ()
    admin_keys: _Keys = Field(default=(), description="keys of POST /admin/reload; without keys there is no such route")
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_check_origin)], ...], NoDecode, BeforeValidator(_split_commas)
    ] = ()
    log_format: LogFormat | None = Field(default=None, description="None: text on a terminal, otherwise json")
    web: bool = Field(default=True, description="serve the page at /")
    compat: bool = Field(default=True, description="serve the APIs of DeepFace, Rekognition, Azure Face and KServe too")
    tracing: bool | None = Field(default=None, description="None: true if OTEL_EXPORTER_OTLP_ENDPOINT is set")
    protect_metrics: bool = Field(default=False, description="require an API key for /metrics too")

    @model_validator(mode="after")
    def _check_protection(self) -> Self:
        for name in ("protect_metrics", "max_inflight_per_key"):
            if getattr(self, name) and not self.api_keys:
                raise ValueError(f"{ENV_PREFIX}{name.upper()} needs keys in {ENV_PREFIX}API_KEYS. Received: none")
        return self


def load_settings(environment: Mapping[str, str], options: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from the process environment.

    Args:
        environment: Usually `os.environ`, from which pydantic-settings reads the values. Names with the prefix that no
            setting has are refused.
        options: Settings of the command line by field name; they override the environment.

    Raises:
        SettingsError: A name is unknown or a value is bad. The message names all of them, without secrets.
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in environment if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; the known settings are {', '.join(sorted(known))}")
    try:
        return Settings(**(options or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem) for problem in error.errors())) from error


def _describe(problem: Any) -> str:
    if not problem["loc"]:  # a rule about several settings
        return str(problem["msg"])
    field = str(problem["loc"][0])
    received = "" if field in _SECRET_FIELDS else f". Received: {problem['input']!r}"
    return f"{ENV_PREFIX}{field.upper()}: {problem['msg']}{received}"
