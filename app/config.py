"""The settings of the service: environment variables with the prefix FER_, read once at start-up.

`app.__main__` or `app.main` loads the settings and passes them down; no module imports them as a value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "FER_"
_KEY = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_KEY_FIELDS = ("api_keys", "admin_keys")
# Linux: the longest path of a UNIX socket without its final zero byte.
_MAX_SOCKET_PATH_BYTES = 107

Device = Literal["cpu", "cuda", "auto"]
DetectorName = Literal["haar", "yunet"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


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


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _check_root_path(path: str) -> str:
    path = path.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise ValueError("expected a path such as /fer: segments of letters, digits and ._~- that begin with a slash")
    return path


def _check_socket_path(path: Path | None) -> Path | None:
    if path is not None and not path.is_absolute():
        raise ValueError("expected an absolute path")
    if path is not None and len(str(path).encode()) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"expected at most {_MAX_SOCKET_PATH_BYTES} bytes")
    return path


def _check_proxy(proxy: str) -> str:
    if proxy != "*":
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ValueError("expected * or IP addresses and networks such as 10.0.0.7 or 10.0.0.0/8") from error
    return proxy


_Keys = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_key)], ...], NoDecode, BeforeValidator(_split_commas)
]


class Settings(BaseSettings):
    """All settings. The field `max_body_bytes` is the variable FER_MAX_BODY_BYTES; the others likewise."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes any free port")
    uds: Annotated[Path | None, AfterValidator(_check_socket_path)] = Field(
        default=None, description="path of a UNIX socket to listen on instead of host and port"
    )
    root_path: Annotated[str, AfterValidator(_check_root_path)] = Field(
        default="", description="prefix of the paths that a proxy removes from requests"
    )
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_check_proxy)], ...], NoDecode, BeforeValidator(_split_commas)
    ] = Field(default=(), description="addresses whose X-Forwarded-For and X-Forwarded-Proto are used")
    keep_alive_s: int = Field(
        default=130, ge=1, le=86_400, description="longer than the idle timeout of the proxy in front"
    )
    model: Path = Path("models/fer_vgg.onnx")
    face_verifier: Path = Field(
        default=Path("models/detection/face_verifier.onnx"), description="network that checks faces"
    )
    device: Device = "auto"
    detector: DetectorName = "haar"
    detector_model: Path | None = Field(default=None, description="ONNX file of YuNet; haar needs no file")
    max_body_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
    max_pixels: int = Field(default=40_000_000, ge=64)
    max_images: int = Field(default=32, ge=1)
    max_batch: int = Field(default=64, ge=1, le=1024)
    max_queue: int = Field(default=256, ge=1)
    max_inflight_per_key: int | None = Field(
        default=None, ge=1, description="largest number of requests in progress with one API key; None: no limit"
    )
    max_inflight_bytes: int | None = Field(
        default=None, ge=1024, description="bytes of the bodies in progress; None: as many as fit into the memory"
    )
    vision_threads: int | None = Field(
        default=None, ge=1, le=1024, description="None: by the number of cores, as many as fit into the memory"
    )
    deadline_ms: int = Field(default=5000, ge=1)
    drain_s: float = Field(default=5.0, ge=0, le=86_400)
    api_keys: _Keys = ()
    api_keys_file: Path | None = Field(default=None, description="file with the API keys, in lines or with commas")
    admin_keys: _Keys = Field(default=(), description="keys of POST /admin/reload; without keys there is no such route")
    admin_keys_file: Path | None = Field(default=None, description="file with the admin keys")
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_check_origin)], ...], NoDecode, BeforeValidator(_split_commas)
    ] = ()
    log_format: LogFormat | None = Field(default=None, description="None: text on a terminal, otherwise json")
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = "info"
    log_client: bool = Field(default=False, description="log the address of the caller of each request")
    web: bool = Field(default=True, description="serve the page at /")
    source_url: str | None = Field(
        default=None, pattern=r"^https?://", description="address of the source code, to which the page links"
    )
    compat: bool = Field(default=True, description="serve the APIs of DeepFace, Rekognition, Azure Face and KServe too")
    tracing: bool | None = Field(default=None, description="None: true if OTEL_EXPORTER_OTLP_ENDPOINT is set")
    protect_metrics: bool = Field(default=False, description="require an API key for /metrics too")

    @model_validator(mode="before")
    @classmethod
    def _read_key_files(cls, values: Any) -> Any:
        """Replace the keys by those of their files, as orchestrators mount secrets."""
        files = {name: values[f"{name}_file"] for name in _KEY_FIELDS if values.get(f"{name}_file")}
        for name, path in files.items():
            if values.get(name):
                raise ValueError(f"expected {_variable(name)} or {_variable(name)}_FILE. Received: both")
            values = {**values, name: _read_keys(f"{name}_file", Path(path))}
        return values

    @model_validator(mode="after")
    def _check_protection(self) -> Self:
        for name in ("protect_metrics", "max_inflight_per_key"):
            if getattr(self, name) and not self.api_keys:
                raise ValueError(f"{ENV_PREFIX}{name.upper()} needs keys in {ENV_PREFIX}API_KEYS. Received: none")
        return self

    @model_validator(mode="after")
    def _check_detector(self) -> Self:
        if self.detector == "yunet" and self.detector_model is None:
            raise ValueError(
                f"{ENV_PREFIX}DETECTOR=yunet needs the path of its ONNX file in {ENV_PREFIX}DETECTOR_MODEL; make yunet"
                " fetches the file. Received: no path"
            )
        return self

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.max_inflight_bytes is not None and self.max_inflight_bytes < self.max_body_bytes:
            raise ValueError(
                f"{_variable('max_inflight_bytes')}: expected at least {_variable('max_body_bytes')},"
                f" {self.max_body_bytes}. Received: {self.max_inflight_bytes}"
            )
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
    message = str(problem["msg"]).removeprefix("Value error, ")  # Pydantic's prefix for the checks of this module
    if not problem["loc"]:  # a rule about several settings
        return message
    field = str(problem["loc"][0])
    received = "" if field in _KEY_FIELDS else f". Received: {problem['input']!r}"
    return f"{_variable(field)}: {message}{received}"


def _read_keys(field: str, path: Path) -> str:
    """Return the keys of a file, separated by commas.

    Raises:
        ValueError: The file cannot be read or holds no key, with which the service would be open to everyone.
    """
    try:
        keys = path.read_text(encoding="utf-8").replace("\n", ",")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{_variable(field)}: {path} cannot be read ({type(error).__name__})") from error
    if not keys.replace(",", "").strip():
        raise ValueError(f"{_variable(field)}: expected keys, one in each line. Received: {path} without a key")
    return keys


def _variable(field: str) -> str:
    return ENV_PREFIX + field.upper()
