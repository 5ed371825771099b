"""`WS /ws`: streams that the service closes: limits, drain, no model; and streams that the client closes."""

from __future__ import annotations

from app.errors import ErrorCode
from tests.support.images import PNG
from tests.support.responses import metric_value
from tests.support.streams import assert_closed
from tests.support.waiting import wait_until


def test_stream_above_the_limit_is_closed_as_overloaded(make_client):
    client = make_client(max_queue=2)
    with client.websocket_connect("/ws"), client.websocket_connect("/ws"):
        wait_until(lambda: metric_value(client, "fer_open_streams") == 2)
        with client.websocket_connect("/ws") as third:
            assert_closed(third, ErrorCode.OVERLOADED, 1013)
    wait_until(lambda: metric_value(client, "fer_open_streams") == 0)
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


def test_stream_drain_answers_the_running_frame_then_closes(client, classifier):
    classifier.released.clear()
    readiness = client.app.state.service.readiness
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        stream.send_bytes(PNG)  # waits until the drain drops it
        readiness.drain()
        wait_until(lambda: metric_value(client, 'fer_stream_frames_total{outcome="dropped"}') == 1)
        classifier.released.set()
        assert stream.receive_json()["frame"] == 1
        assert_closed(stream, ErrorCode.DRAINING, 1012)
    with client.websocket_connect("/ws") as second:
        assert_closed(second, ErrorCode.DRAINING, 1012)


def test_idle_stream_is_closed_when_the_drain_begins(client):
    with client.websocket_connect("/ws") as stream:
        wait_until(lambda: metric_value(client, "fer_open_streams") == 1)
        client.app.state.service.readiness.drain()
        assert_closed(stream, ErrorCode.DRAINING, 1012)


def test_stream_before_the_model_is_loaded_is_closed_as_not_ready(make_client):
    client = make_client()
    client.app.state.service.engine._model = None
    with client.websocket_connect("/ws") as stream:
        assert_closed(stream, ErrorCode.NOT_READY, 1013)


def test_stream_disconnect_during_a_frame_releases_its_permit(client, classifier):
    service = client.app.state.service
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        wait_until(lambda: service.admission.permits == 1)
    wait_until(lambda: metric_value(client, "fer_open_streams") == 0 and service.admission.permits == 0)
    classifier.released.set()
