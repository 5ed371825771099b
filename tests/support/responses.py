"""Assertions about responses of the service, and values of its metrics."""

from __future__ import annotations

from typing import Any

from app.api.problems import STATUS
from app.errors import ErrorCode

_VOLATILE_FIELDS = ("request_id", "timings_ms")


def stable_fields(prediction: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a prediction that are equal in all responses to the same image."""
    return {key: value for key, value in prediction.items() if key not in _VOLATILE_FIELDS}


def assert_problem(response: Any, code: ErrorCode) -> dict[str, Any]:
    """Assert that a response is the problem document of an error code, without internals; return its body."""
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert response.status_code == body["status"] == STATUS[code]
    assert response.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["type"].endswith(code)
    for internal in ("Traceback", "/site-packages", "app/", "Error("):
        assert internal not in response.text
    return body


def metric_value(client: Any, series: str) -> float:
    """Return the value of one series of `/metrics`.

    Args:
        client: Client of the service.
        series: Name and labels, for instance `fer_stream_frames_total{outcome="dropped"}`.
    """
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{series} ")]
    return float(line.split()[-1])
