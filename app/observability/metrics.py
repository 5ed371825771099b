"""Prometheus collectors of the service, with their labels and buckets, in a registry of their own.

An instance is one process, so the numbers describe the whole instance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.gc_collector import GCCollector

from app.contract.labels import LABELS

_REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH_FACES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_IMAGE_FACES = (0, 1, 2, 3, 5, 10, 20, 50, 100)
_CONFIDENCE = tuple(step / 20 for step in range(3, 21))  # 0.15 to 1: the top score of seven classes is at least 1/7

STAGES = ("vision_queue", "decode", "detect", "queue", "infer")
RELOAD_OUTCOMES = ("replaced", "unchanged", "refused")
FRAME_OUTCOMES = ("answered", "failed", "dropped")

Labelled = TypeVar("Labelled", Counter, Histogram)


class Metrics:
    """The collectors, one attribute each. All of them are thread-safe.

    A collector with labels is a function that returns the series of the given label values.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = _by_label(
            Counter(
                "fer_requests", "Requests answered, by route and status.", ("route", "status"), registry=self.registry
            )
        )
        self.request_seconds = _by_label(
            Histogram(
                "fer_request_duration_seconds",
                "Time from the first byte of a request to the end of its response.",
                ("route",),
                buckets=_REQUEST_SECONDS,
                registry=self.registry,
            )
        )
        self.stage_seconds = _by_label(
            Histogram(
                "fer_stage_duration_seconds",
                "Time that one image spends in one stage.",
                ("stage",),
                buckets=_STAGE_SECONDS,
                registry=self.registry,
            )
        )
        self.inflight = Gauge("fer_inflight_requests", "Requests in progress.", registry=self.registry)
        self.vision_queue_depth = Gauge(
            "fer_vision_queue_depth", "Images that wait for a vision thread.", registry=self.registry
        )
        self.queue_depth = Gauge("fer_queue_depth", "Faces that wait for the model.", registry=self.registry)
        self.batch_size = Histogram(
            "fer_batch_size", "Faces in one model run.", buckets=_BATCH_FACES, registry=self.registry
        )
        self.faces_per_image = Histogram(
            "fer_faces_per_image", "Faces in the result of one image.", buckets=_IMAGE_FACES, registry=self.registry
        )
        self.predictions = _by_label(
            Counter("fer_predictions", "Faces classified, by top emotion.", ("emotion",), registry=self.registry)
        )
        self.confidence = Histogram(
            "fer_confidence", "Probability of the top emotion of a face.", buckets=_CONFIDENCE, registry=self.registry
        )
        self.rejections = _by_label(
            Counter(
                "fer_rejections", "Images and requests refused, by error code.", ("reason",), registry=self.registry
            )
        )
        self.open_streams = Gauge("fer_open_streams", "Open WebSocket streams.", registry=self.registry)
        self.frames = _by_label(
            Counter(
                "fer_stream_frames",
                "Frames of streams, by outcome: answered, failed, or dropped for a newer frame.",
                ("outcome",),
                registry=self.registry,
            )
        )
        self.frame_seconds = Histogram(
            "fer_stream_frame_duration_seconds",
            "Time from the arrival of a frame to its answer.",
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self.model_info = Gauge(
            "fer_model_info",
            "1 for the loaded model.",
            ("name", "version", "sha256", "provider"),
            registry=self.registry,
        )
        self.reloads = _by_label(
            Counter(
                "fer_model_reloads",
                "Model reloads, by outcome: replaced, unchanged or refused.",
                ("outcome",),
                registry=self.registry,
            )
        )
        self.ready = Gauge("fer_ready", "1 while /readyz answers 200.", registry=self.registry)
        self.deadline_seconds = Gauge(
            "fer_deadline_seconds", "The deadline of a request, FER_DEADLINE_MS.", registry=self.registry
        )
        for stage in STAGES:  # create every series at the start: rate() misses an increment that creates a series
            self.stage_seconds(stage)
        for outcome in FRAME_OUTCOMES:
            self.frames(outcome)
        for outcome in RELOAD_OUTCOMES:
            self.reloads(outcome)
        for label in LABELS:
            self.predictions(label)


def _by_label(collector: Labelled) -> Callable[..., Labelled]:
    """Return a cached `collector.labels`: a call of `labels` takes longer than an increment."""
    return cache(collector.labels)
