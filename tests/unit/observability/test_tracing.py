"""Traces: spans of requests and stages, continued traces, trace ids in logs, and export to an OTLP receiver."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.config import Settings, SettingsError
from app.main import create_app
from app.observability.logging import FieldsFilter
from app.observability.tracing import NoTracing, OpenTelemetryTracing, load_tracing
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import encoded, picture

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}


def client_with(tracing) -> TestClient:
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), FakeDetector(), tracing=tracing)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def exporter():
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="OpenTelemetry: see requirements/otel.txt"
    )
    return memory.InMemorySpanExporter()


def spans_by_name(exporter) -> dict:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_request_span_has_its_stages_as_children_in_order(exporter):
    with client_with(OpenTelemetryTracing(exporter, {})) as client:
        client.post("/predict", content=encoded(picture(2)), headers=TRACEPARENT | {"X-Request-ID": "mine"})
    spans = spans_by_name(exporter)
    assert set(spans) == {"POST /predict", "vision_queue", "decode", "detect", "queue", "infer"}
    request = spans.pop("POST /predict")
    assert format(request.context.trace_id, "032x") == TRACE_ID
    assert format(request.parent.span_id, "016x") == PARENT_ID
    assert request.kind.name == "SERVER"
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "fer.request_id": "mine",
    }
    assert request.status.status_code.name == "UNSET"
    stages = sorted(spans.values(), key=lambda span: span.start_time)
    assert [span.name for span in stages] == ["vision_queue", "decode", "detect", "queue", "infer"]
    slack_ns = 1_000_000  # two clocks are read one after the other
    for before, after in pairwise(stages):
        assert before.end_time <= after.start_time + slack_ns
    for span in stages:
        assert span.parent.span_id == request.context.span_id
        assert request.start_time - slack_ns <= span.start_time <= span.end_time <= request.end_time + slack_ns
    assert request.resource.attributes["service.name"] == "fer-serve"


def test_failed_request_has_the_spans_of_its_completed_stages(exporter):
    classifier = FakeClassifier()
    app = create_app(
        Settings(deadline_ms=60_000), classifier, FakeDetector(), tracing=OpenTelemetryTracing(exporter, {})
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        classifier.poison = 7
        poisoned = encoded(np.full((48, 48), 7, dtype=np.uint8))
        assert client.post("/predict?detect=false", content=poisoned).status_code == 500
    spans = spans_by_name(exporter)
    assert set(spans) == {"POST /predict", "vision_queue", "decode", "detect"}
    assert spans["POST /predict"].status.status_code.name == "ERROR"


def test_failures_have_error_status_and_unknown_paths_share_a_name(exporter):
    with client_with(OpenTelemetryTracing(exporter, {})) as client:
        client.app.state.service.engine._model = None
        client.post("/predict", content=b"x")
        client.get("/no/such/path")
    spans = spans_by_name(exporter)
    assert spans["POST /predict"].status.status_code.name == "ERROR"
    assert spans["GET unmatched"].status.status_code.name == "UNSET"
    assert spans["GET unmatched"].parent is None


def test_probes_are_not_traced(exporter):
    with client_with(OpenTelemetryTracing(exporter, {})) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            client.get(path, headers=TRACEPARENT)
    assert exporter.get_finished_spans() == ()


def logged_ids(tracing) -> tuple[str | None, str | None]:
    """Return the request id and the trace id that the access log has for one request."""
    stream = logging.StreamHandler(io.StringIO())
    stream.addFilter(FieldsFilter())
    stream.setFormatter(logging.Formatter("%(message)s"))
    records: list[logging.LogRecord] = []
    stream.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("app")
    level = logger.level
    logger.addHandler(stream)
    logger.setLevel(logging.INFO)
    try:
        with client_with(tracing) as client:
            client.post("/predict", content=b"x", headers=TRACEPARENT | {"X-Request-ID": "mine"})
    finally:
        logger.removeHandler(stream)
        logger.setLevel(level)
    (record,) = [record for record in records if record.name == "app.access"]
    return getattr(record, "request_id", None), getattr(record, "trace_id", None)


def test_log_records_have_the_trace_id(exporter):
    assert logged_ids(OpenTelemetryTracing(exporter, {})) == ("mine", TRACE_ID)


def test_log_records_have_no_trace_id_without_tracing():
    assert logged_ids(NoTracing()) == ("mine", None)


def test_otel_service_name_sets_the_service_name(exporter, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "faces-in-lyon")
    with client_with(OpenTelemetryTracing(exporter, {"OTEL_SERVICE_NAME": "faces-in-lyon"})) as client:
        client.get("/info")
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == "faces-in-lyon"


def test_tracing_is_off_by_default():
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert isinstance(load_tracing(Settings(), {}), NoTracing)
    assert isinstance(load_tracing(Settings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}), NoTracing)
    assert isinstance(load_tracing(Settings(tracing=False), endpoint), NoTracing)


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def without_opentelemetry(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)


@pytest.mark.parametrize("environment", [{}, ENDPOINT])
def test_fer_tracing_without_its_packages_is_a_settings_error(without_opentelemetry, environment):
    with pytest.raises(SettingsError, match=r"FER_TRACING .*requirements/otel\.txt"):
        load_tracing(Settings(tracing=True), environment)


def test_otel_variables_without_the_packages_are_a_warning(without_opentelemetry, caplog):
    assert isinstance(load_tracing(Settings(), ENDPOINT), NoTracing)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT enables traces, which need the packages of requirements/otel.txt" in caplog.text


@pytest.mark.parametrize("switch", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
@pytest.mark.parametrize("settings", [Settings(), Settings(tracing=True)])
def test_switches_of_opentelemetry_turn_traces_off(without_opentelemetry, caplog, switch, settings):
    assert isinstance(load_tracing(settings, ENDPOINT | switch), NoTracing)
    assert caplog.records == []


def test_otel_variables_with_bad_values_are_a_warning(monkeypatch, caplog):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry: see requirements/otel.txt")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    assert isinstance(load_tracing(Settings(), ENDPOINT), NoTracing)
    assert "OpenTelemetry refuses its settings" in caplog.text
    with pytest.raises(SettingsError, match="OpenTelemetry refuses its settings"):
        load_tracing(Settings(tracing=True), {})


def test_otlp_receiver_gets_the_spans_over_http(monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry: see requirements/otel.txt")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[tuple[str, ExportTraceServiceRequest]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        tracing = load_tracing(Settings(), os.environ)
        with client_with(tracing) as client:
            client.post("/predict", content=encoded(picture(1)), headers=TRACEPARENT)
    finally:
        server.shutdown()
        server.server_close()
    assert {path for path, _ in received} == {"/v1/traces"}
    scopes = [scope for _, message in received for resource in message.resource_spans for scope in resource.scope_spans]
    names = {span.name for scope in scopes for span in scope.spans}
    assert names == {"POST /predict", "vision_queue", "decode", "detect", "queue", "infer"}
    assert {span.trace_id.hex() for scope in scopes for span in scope.spans} == {TRACE_ID}
    assert "happy" not in json.dumps([str(message) for _, message in received])


def test_telemetry_of_fastapi_stays_off(monkeypatch, make_client, caplog):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "no address")  # FastAPI's telemetry would warn about this value
    assert make_client().get("/healthz").status_code == 200
    assert "telemetry" not in caplog.text


def test_frame_span_has_its_stages_as_children(exporter):
    with (
        client_with(OpenTelemetryTracing(exporter, {})) as client,
        client.websocket_connect("/ws", headers=TRACEPARENT) as stream,
    ):
        for data in (encoded(picture(2)), b"no image"):
            stream.send_bytes(data)
            stream.receive_json()
    frames = [span for span in exporter.get_finished_spans() if span.name == "WS /ws"]
    stages = [span for span in exporter.get_finished_spans() if span.name != "WS /ws"]
    assert [span.attributes["http.response.status_code"] for span in frames] == [200, 415]
    assert {format(span.parent.span_id, "016x") for span in frames} == {PARENT_ID}
    assert {span.name for span in stages} == {"vision_queue", "decode", "detect", "queue", "infer"}
    assert {span.parent.span_id for span in stages} == {frames[0].context.span_id}
