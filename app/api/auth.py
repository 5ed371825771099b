"""API keys and origins. The functions that take a request are FastAPI dependencies.

The dependencies are `async` although they do not wait: FastAPI runs other functions in a thread.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from app.api.service import service_of
from app.config import Settings
from app.errors import ErrorCode, FerError

_KEY_HEADERS = ("x-api-key", "ocp-apim-subscription-key")  # the second name is Azure's


async def authorise(request: Request) -> None:
    """Require one of the configured API keys; without configured keys every request passes.

    Raises:
        FerError: `unauthorized`.
    """
    if not has_key(service_of(request).settings, request.headers):
        raise _unauthorized("a valid API key", request)


async def authorise_admin(request: Request) -> None:
    """Require one of the admin keys; an API key is not enough.

    Raises:
        FerError: `unauthorized`.
    """
    if not _is_among(service_of(request).settings.admin_keys, key_of(request.headers)):
        raise _unauthorized("an admin key", request)


async def authorise_metrics(request: Request) -> None:
    """Require an API key if the operator protects `/metrics`.

    Raises:
        FerError: `unauthorized`.
    """
    if service_of(request).settings.protect_metrics:
        await authorise(request)


async def check_origin(connection: HTTPConnection) -> None:
    """Accept a WebSocket from the service's own page, from a configured origin, or without an origin.

    Browsers open WebSockets to other origins without a preflight request, so CORS does not protect them.

    Raises:
        FerError: `forbidden_origin`.
    """
    origin = connection.headers.get("origin")
    allowed = service_of(connection).settings.cors_origins
    if origin is None or origin in allowed or "*" in allowed:
        return
    try:
        host = urlsplit(origin).netloc.lower()  # without the scheme: a proxy may terminate TLS
    except ValueError:
        host = ""
    if not host or host != connection.headers.get("host", "").lower():
        raise FerError(
            ErrorCode.FORBIDDEN_ORIGIN,
            f"the origin {origin[:200]} may not open streams; FER_CORS_ORIGINS lists the origins that may",
        )


def has_key(settings: Settings, headers: Headers) -> bool:
    """Return whether headers carry one of the configured API keys; True without configured keys."""
    return not settings.api_keys or is_api_key(settings, key_of(headers))


def is_api_key(settings: Settings, offered: str) -> bool:
    """Return whether a text is one of the configured API keys."""
    return _is_among(settings.api_keys, offered)


def key_of(headers: Headers) -> str:
    """Return the API key that headers carry; empty without one."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    header = next((headers[name] for name in _KEY_HEADERS if headers.get(name)), "")
    return header or (credentials.strip() if scheme.lower() == "bearer" else "")


def _is_among(keys: Sequence[SecretStr], offered: str) -> bool:
    # Each key is compared, in constant time, so that the response time discloses nothing.
    matches = [hmac.compare_digest(offered.encode(), key.get_secret_value().encode()) for key in keys]
    return any(matches)


def _unauthorized(expected: str, request: Request) -> FerError:
    received = "another key" if key_of(request.headers) else "no key"
    return FerError(
        ErrorCode.UNAUTHORIZED, f"expected {expected} in X-API-Key or Authorization: Bearer. Received: {received}"
    )
