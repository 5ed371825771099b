"""What a request must pass before its body is read: API key, then a permit. FastAPI dependencies."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator

from starlette.requests import Request

from app.api.service import Service, service_of
from app.errors import ErrorCode, FerError

_KEY_HEADERS = ("x-api-key", "ocp-apim-subscription-key")  # the second: as clients of Azure send it


def authorise(request: Request) -> None:
    """Lets a request pass that carries one of the configured keys; every request where none is configured.

    Raises:
        FerError: `unauthorized`.
    """
    keys = service_of(request).settings.api_keys
    if not keys:
        return
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    header = next((request.headers[name] for name in _KEY_HEADERS if request.headers.get(name)), "")
    offered = header or (credentials.strip() if scheme.lower() == "bearer" else "")
    # Every key is compared, in constant time, so that the time taken tells nothing.
    matches = [hmac.compare_digest(offered.encode(), key.get_secret_value().encode()) for key in keys]
    if not any(matches):
        raise FerError(
            ErrorCode.UNAUTHORIZED, "expected a valid API key in X-API-Key or Authorization: Bearer. Received: none"
        )


def authorise_metrics(request: Request) -> None:
    """`authorise`, where the operator asked to protect `/metrics`."""
    if service_of(request).settings.protect_metrics:
        authorise(request)


async def admit(request: Request) -> AsyncIterator[None]:
    """Holds one of the permits while the request is answered.

    Raises:
        FerError: `overloaded`; all permits are held.
    """
    service: Service = service_of(request)
    service.require_engine()
    if service.admitted >= service.settings.max_queue:
        raise FerError(
            ErrorCode.OVERLOADED, f"{service.settings.max_queue} requests are being answered already; try again shortly"
        )
    service.admitted += 1
    try:
        yield
    finally:
        service.admitted -= 1
