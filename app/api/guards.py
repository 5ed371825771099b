"""What a request, or a frame of a stream, must pass before it is read: origin, API key, then a permit.

The dependencies are `async`, though some wait for nothing: FastAPI sends others to a thread, which costs more than they
do. The busiest routes call `admitted` themselves, as being a dependency costs more still.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from app.api.service import Engine, Service, service_of
from app.config import Settings
from app.errors import ErrorCode, FerError

# The longest wait that a request is let into, as a share of its deadline. A burst is served; a queue that has stood for
# as long as a burst may take is overload, and is kept short: then what is let in is answered soon, and at the default
# deadline the queue is gone within a second after. Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015.
BURST_SHARE = 0.6
STANDING_SHARE = 0.15
_KEY_HEADERS = ("x-api-key", "ocp-apim-subscription-key")  # the second: as clients of Azure send it


async def authorise(request: Request) -> None:
    """Lets a request pass that carries one of the configured keys; every request where none is configured.

    Raises:
        FerError: `unauthorized`.
    """
    _check_key(request)


def _check_key(request: Request) -> None:
    if not has_key(service_of(request).settings, request.headers):
        raise _unauthorized("a valid API key", request)


def _unauthorized(expected: str, request: Request) -> FerError:
    received = "another one" if _key_in(request.headers) else "none"
    return FerError(
        ErrorCode.UNAUTHORIZED, f"expected {expected} in X-API-Key or Authorization: Bearer. Received: {received}"
    )


def has_key(settings: Settings, headers: Headers) -> bool:
    """Whether headers carry one of the configured keys; true where none is configured."""
    return not settings.api_keys or key_opens(settings, _key_in(headers))


def _key_in(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    header = next((headers[name] for name in _KEY_HEADERS if headers.get(name)), "")
    return header or (credentials.strip() if scheme.lower() == "bearer" else "")


def key_opens(settings: Settings, offered: str) -> bool:
    """Whether a key is one of the configured ones."""
    return _is_among(settings.api_keys, offered)


async def authorise_admin(request: Request) -> None:
    """Lets a request pass that carries one of the admin keys; callers' keys do not do.

    Raises:
        FerError: `unauthorized`.
    """
    if not _is_among(service_of(request).settings.admin_keys, _key_in(request.headers)):
        raise _unauthorized("an admin key", request)


def _is_among(keys: Sequence[SecretStr], offered: str) -> bool:
    # Every key is compared, in constant time, so that the time taken tells nothing.
    matches = [hmac.compare_digest(offered.encode(), key.get_secret_value().encode()) for key in keys]
    return any(matches)


async def check_origin(connection: HTTPConnection) -> None:
    """Lets a WebSocket pass that this service's own page or a page of a configured origin opens, or no page at all.

    Browsers open WebSockets across origins without asking the server first: CORS does not stop them.

    Raises:
        FerError: `forbidden_origin`.
    """
    origin = connection.headers.get("origin")
    allowed = service_of(connection).settings.cors_origins
    if origin is None or origin in allowed or "*" in allowed:
        return
    try:
        host = urlsplit(origin).netloc.lower()  # not the scheme: TLS may end at a proxy before the service
    except ValueError:
        host = ""
    if not host or host != connection.headers.get("host", "").lower():
        raise FerError(
            ErrorCode.FORBIDDEN_ORIGIN, f"pages of {origin[:200]} may not open streams; FER_CORS_ORIGINS names who may"
        )


async def authorise_metrics(request: Request) -> None:
    """`authorise`, where the operator asked to protect `/metrics`."""
    if service_of(request).settings.protect_metrics:
        await authorise(request)


async def admit(request: Request) -> AsyncIterator[None]:
    """Holds one of the permits while the request is answered; asked for before the body is read.

    Raises:
        FerError: As `permit`.
    """
    with _admitted(request):
        yield


def admitted(request: Request) -> AbstractContextManager[Engine]:
    """`authorise`, then `admit`, as a context; gives the engine.

    Raises:
        FerError: As those.
    """
    _check_key(request)
    return _admitted(request)


def _admitted(request: Request) -> AbstractContextManager[Engine]:
    request.state.admitted = True
    return permit(service_of(request), _size(request.headers))


def declared_bytes(headers: Headers) -> int | None:
    """The length of the body by its header; None where it has none, as one that is sent in chunks."""
    declared = headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None  # cut: Python converts no endless rows of digits


@contextmanager
def permit(service: Service, size_bytes: float) -> Iterator[Engine]:
    """Holds one of the permits, and gives the engine that it is for.

    Args:
        service: Whose permits.
        size_bytes: Of what is to be read; infinite where that is not known.

    Raises:
        FerError: `not_ready`; or `overloaded`: all permits are held, or the wait would be too long.
    """
    engine = check_room(service, size_bytes)
    service.admitted += 1
    try:
        yield engine
    finally:
        service.admitted -= 1


def check_room(service: Service, size_bytes: float) -> Engine:
    """The engine, where a permit is to be had; takes none.

    Args:
        service: Whose permits.
        size_bytes: Of what is to be read; infinite where that is not known.

    Raises:
        FerError: As `permit`.
    """
    engine = service.require_engine()
    if service.admitted >= service.settings.max_queue:
        raise FerError(
            ErrorCode.OVERLOADED, f"{service.settings.max_queue} requests are being answered already; try again shortly"
        )
    check_wait(service, size_bytes)
    return engine


def _size(headers: Headers) -> float:
    declared = declared_bytes(headers)
    return math.inf if declared is None else declared


def check_wait(service: Service, size_bytes: float) -> None:
    """Lets a request of a size pass that would be answered in time.

    Raises:
        FerError: `not_ready`; or `overloaded`.
    """
    deadline_s = service.settings.deadline_ms / 1000
    pipeline = service.require_engine().pipeline
    wait_s = pipeline.wait_s(size_bytes)
    if wait_s <= STANDING_SHARE * deadline_s:
        return
    standing = pipeline.standing_s(size_bytes) > BURST_SHARE * deadline_s
    longest_s = deadline_s * (STANDING_SHARE if standing else BURST_SHARE)
    if wait_s > longest_s:
        raise FerError(
            ErrorCode.OVERLOADED,
            f"this request would wait for {wait_s:.1f} s and at most {longest_s:.1f} s is accepted; try again shortly",
        )
