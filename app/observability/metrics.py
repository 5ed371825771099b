"""Prometheus collectors of the service, with their labels and buckets, in a registry of their own.

An instance is one process, so the numbers describe the whole instance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.gc_collector import GCCollector

from app.contract.labels import LABELS
from app.errors import ErrorCode

_REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH_FACES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_IMAGE_FACES = (0, 1, 2, 3, 5, 10, 20, 50, 100)
_CONFIDENCE = tuple(step / 20 for step in range(3, 21))  # 0.15 to 1: the top score of seven classes is at least 1/7

STAGES = ("vision_queue", "decode", "detect", "queue", "infer")
RELOAD_OUTCOMES = ("replaced", "unchanged", "refused")
FRAME_OUTCOMES = ("answered", "failed", "dropped")


class Metrics:
    """The collectors, one attribute each. All of them are thread-safe.

    A collector with labels is a function that returns the series of the given label values.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = self._counter("fer_requests", "Requests answered, by route and status.", "route", "status")
        self.request_seconds = self._histograms(
            "fer_request_duration_seconds",
            "Time from the first byte of a request to the end of its response.",
            "route",
            _REQUEST_SECONDS,
        )
        self.stage_seconds = self._histograms(
            "fer_stage_duration_seconds", "Time that one image spends in one stage.", "stage", _STAGE_SECONDS
        )
        self.inflight = self._gauge("fer_inflight_requests", "Requests in progress.")
        self.inflight_bytes = self._gauge("fer_inflight_bytes", "Bytes of the bodies of requests in progress.")
        self.inflight_bytes_limit = self._gauge(
            "fer_inflight_bytes_limit", "Bytes of bodies at once; above it requests are refused."
        )
        self.vision_queue_depth = self._gauge("fer_vision_queue_depth", "Images that wait for a vision thread.")
        self.queue_depth = self._gauge("fer_queue_depth", "Faces that wait for the model.")
        self.batch_size = self._histogram("fer_batch_size", "Faces in one model run.", _BATCH_FACES)
        self.faces_per_image = self._histogram("fer_faces_per_image", "Faces in the result of one image.", _IMAGE_FACES)
        self.predictions = self._counter("fer_predictions", "Faces classified, by top emotion.", "emotion")
        self.confidence = self._histogram("fer_confidence", "Probability of the top emotion of a face.", _CONFIDENCE)
        self.rejections = self._counter("fer_rejections", "Images and requests refused, by error code.", "reason")
        self.open_streams = self._gauge("fer_open_streams", "Open WebSocket streams.")
        self.frames = self._counter(
            "fer_stream_frames",
            "Frames of streams, by outcome: answered, failed, or dropped for a newer frame.",
            "outcome",
        )
        self.frame_seconds = self._histogram(
            "fer_stream_frame_duration_seconds", "Time from the arrival of a frame to its answer.", _REQUEST_SECONDS
        )
        self.model_info = self._gauge(
            "fer_model_info", "1 for the loaded model.", "name", "version", "sha256", "provider"
        )
        self.reloads = self._counter(
            "fer_model_reloads", "Model reloads, by outcome: replaced, unchanged or refused.", "outcome"
        )
        self.ready = self._gauge("fer_ready", "1 if /readyz returns 200, else 0.")
        self.deadline_seconds = self._gauge("fer_deadline_seconds", "The deadline of a request, FER_DEADLINE_MS.")
        self._create_series()

    def _create_series(self) -> None:
        """Create the series of all known label values: rate() misses an increment that creates a series."""
        for series, values in (
            (self.stage_seconds, STAGES),
            (self.frames, FRAME_OUTCOMES),
            (self.reloads, RELOAD_OUTCOMES),
            (self.predictions, LABELS),
            (self.rejections, ErrorCode),
        ):
            for value in values:
                series(value)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(name, description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, description, buckets=buckets, registry=self.registry)

    # A cached series is faster than a call of `labels`, which takes longer than the increment.

    def _counter(self, name: str, description: str, *labels: str) -> Callable[..., Counter]:
        return cache(Counter(name, description, labels, registry=self.registry).labels)

    def _histograms(
        self, name: str, description: str, label: str, buckets: Sequence[float]
    ) -> Callable[..., Histogram]:
        return cache(Histogram(name, description, (label,), buckets=buckets, registry=self.registry).labels)
