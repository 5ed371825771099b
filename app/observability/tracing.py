"""OpenTelemetry traces of requests and their stages. Off by default; the standard OTEL_* variables configure them.

Only this module imports OpenTelemetry, whose packages are optional (requirements/otel.txt). Span attributes never hold
image bytes, boxes, scores or keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from app.config import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE_NAME = "fer-serve"
_SERVER_ERROR = 500
_NS = 1_000_000_000

_logger = logging.getLogger(__name__)


class RequestTrace:
    """The trace of one request. This base class records nothing."""

    trace_id = ""  # 32 hexadecimal digits, or empty if nothing is recorded

    def answered(self, method: str, route: str, status: int, request_id: str) -> None:
        """Record how the request ended."""


class Tracing(Protocol):
    """Recorder of requests and stages."""

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[RequestTrace]:
        """Return a context that traces one request and continues the trace of its `traceparent` header (W3C)."""

    def stage(self, name: str, started: float, seconds: float) -> None:
        """Record one stage of the current request.

        Args:
            name: Stage name, one of `app.observability.metrics.STAGES`.
            started: Start time by `time.perf_counter()`.
            seconds: Duration.
        """

    def shutdown(self) -> None:
        """Send the remaining spans. Blocks for at most the timeout of the exporter."""


class NoTracing:
    """Tracing that records nothing."""

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[RequestTrace]:
        """See `Tracing`."""
        del headers
        return nullcontext(_UNTRACED)

    def stage(self, name: str, started: float, seconds: float) -> None:
        """See `Tracing`."""

    def shutdown(self) -> None:
        """See `Tracing`."""


_UNTRACED = RequestTrace()


def load_tracing(settings: Settings, environment: Mapping[str, str]) -> Tracing:
    """Return the tracing that FER_TRACING selects. Without it, traces are on if an OTLP endpoint is set.

    OTEL_* variables often belong to the whole environment, and not to this service. If they ask for traces that are
    impossible, the service starts without traces and logs a warning.

    Args:
        settings: The service settings.
        environment: Environment variables; read for the OTLP endpoint and the switches of OpenTelemetry.

    Raises:
        SettingsError: FER_TRACING is true, and OpenTelemetry is not installed or refuses its own settings.
    """
    endpoint = next((name for name in ENDPOINT_VARIABLES if environment.get(name)), None)
    enabled = endpoint is not None if settings.tracing is None else settings.tracing
    if not enabled or _is_disabled(environment):
        return NoTracing()
    try:
        return _load_open_telemetry("FER_TRACING" if settings.tracing else endpoint, environment)
    except SettingsError as error:
        if settings.tracing:
            raise
        _logger.warning("there are no traces: %s", error)
        return NoTracing()


def _load_open_telemetry(reason: str | None, environment: Mapping[str, str]) -> Tracing:
    """Return the tracing of OpenTelemetry.

    Args:
        reason: Name of the variable that enables traces, for the error.
        environment: Environment variables.

    Raises:
        SettingsError: OpenTelemetry is not installed or refuses its own settings.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OpenTelemetryTracing(OTLPSpanExporter(), environment)
    except ImportError as error:
        raise SettingsError(f"{reason} enables traces, which need the packages of requirements/otel.txt") from error
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry refuses its settings: {error}") from error


def _is_disabled(environment: Mapping[str, str]) -> bool:
    """Return whether the standard variables of OpenTelemetry turn traces off."""
    return (
        environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    )


class OpenTelemetryTracing:
    """Tracing that exports a span per request and per stage in the background.

    Args:
        exporter: Receives finished spans.
        environment: Read for OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES. The SDK reads the other OTEL_* variables
            from the process environment.

    Raises:
        ImportError: OpenTelemetry's SDK is not installed.
    """

    def __init__(self, exporter: SpanExporter, environment: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        is_named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        resource = Resource.create({} if is_named else {"service.name": _SERVICE_NAME})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("fer-serve")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[RequestTrace]:
        """See `Tracing`."""
        from opentelemetry.trace import SpanKind

        parent = self._propagator.extract(headers)
        with self._tracer.start_as_current_span("request", parent, SpanKind.SERVER) as span:
            yield _OpenTelemetryRequest(span)

    def stage(self, name: str, started: float, seconds: float) -> None:
        """See `Tracing`."""
        start_ns = time.time_ns() - int((time.perf_counter() - started) * _NS)
        self._tracer.start_span(name, start_time=start_ns).end(start_ns + int(seconds * _NS))

    def shutdown(self) -> None:
        """See `Tracing`."""
        self._provider.shutdown()


class _OpenTelemetryRequest(RequestTrace):
    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace_id = format(span.get_span_context().trace_id, "032x")

    def answered(self, method: str, route: str, status: int, request_id: str) -> None:
        """Set the name, attributes and status of the span by the semantic conventions for HTTP."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(f"{method} {route}")
        self._span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "fer.request_id": request_id,
            }
        )
        if status >= _SERVER_ERROR or not status:
            self._span.set_status(StatusCode.ERROR)
