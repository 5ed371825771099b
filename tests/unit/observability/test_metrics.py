"""The collectors before the first request."""

from __future__ import annotations

from prometheus_client import generate_latest

from app.errors import ErrorCode
from app.observability.metrics import Metrics


def test_refusals_for_every_reason_start_at_zero():
    # rate() misses the increment that creates a series, so the first refusals would stay unseen.
    lines = generate_latest(Metrics().registry).decode().splitlines()
    assert {f'fer_rejections_total{{reason="{code}"}} 0.0' for code in ErrorCode} <= set(lines)
