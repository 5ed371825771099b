"""Turns requests away for which there is no room, as soon as their heads are there: before ASGI, routes and bodies.

In a flood of requests, what a refusal costs is taken from those that are answered. One by its route costs more than
twice as much (docs/reliability.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response

from app.api import access_log
from app.api.guards import check_room, has_key
from app.api.problems import error_response
from app.api.service import Service
from app.errors import FerError
from app.observability.logging import log_fields

# Other services' dialects refuse in their own form, in their routes.
_PATHS = {b"/predict": "/predict", b"/predict/batch": "/predict/batch"}


class Door:
    """Refuses a POST with images that would not get a permit; whatever else is to be said of it, its route says.

    Args:
        service: Whose permits.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(
        self, method: bytes, target: bytes, raw_headers: Sequence[tuple[bytes, bytes]], size_bytes: int
    ) -> Response | None:
        """The answer to a request that is turned away, counted and logged; None for one that may pass.

        Args:
            method: As it was sent.
            target: Path and query, as they were sent.
            raw_headers: Names in lower case, and values.
            size_bytes: Of the body.
        """
        started = time.perf_counter()
        path, _, _ = target.partition(b"?")
        if method != b"POST" or path not in _PATHS:
            return None
        refusal = self._refusal(size_bytes)
        if refusal is None:
            return None
        headers = Headers(raw=list(raw_headers))
        settings = self._service.settings
        if not has_key(settings, headers):
            return None
        if settings.cors_origins and "origin" in headers:  # the answer needs headers for the browser
            return None
        return self._turn_away(refusal, _PATHS[path], headers, started)

    def _refusal(self, size_bytes: int) -> FerError | None:
        try:
            check_room(self._service, size_bytes)
        except FerError as error:
            return error.with_traceback(None)  # its frames hold this refusal, which would keep itself
        return None

    def _turn_away(self, refusal: FerError, route: str, headers: Headers, started: float) -> Response:
        metrics = self._service.metrics
        identity = access_log.request_id(headers.get(access_log.REQUEST_ID_HEADER))
        with self._service.tracing.request(headers) as trace, log_fields(access_log.fields_of(identity, trace)):
            response = error_response(refusal, identity, {access_log.REQUEST_ID_HEADER: identity})
            metrics.rejections(refusal.code).inc()
            access_log.record(
                metrics, trace, "POST", route, response.status_code, time.perf_counter() - started, identity
            )
        return response
