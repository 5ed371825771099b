"""Every Prometheus collector of the service, with its labels and buckets. Injected; registered in no global registry.

One process serves one instance, so these numbers are the truth for the whole of it.
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
_CONFIDENCE = tuple(step / 20 for step in range(3, 21))  # 0.15 to 1: seven classes cannot be below 1/7

STAGES = ("vision_queue", "decode", "detect", "queue", "infer")
RELOAD_OUTCOMES = ("replaced", "unchanged", "refused")
FRAME_OUTCOMES = ("answered", "failed", "dropped")

Labelled = TypeVar("Labelled", Counter, Histogram)


class Metrics:
    """The collectors, one attribute each. All methods of prometheus_client are thread-safe.

    Those with labels are functions of their labels' values.
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
                "Time from the first byte of a request to its answer.",
                ("route",),
                buckets=_REQUEST_SECONDS,
                registry=self.registry,
            )
        )
        self.stage_seconds = _by_label(
            Histogram(
                "fer_stage_duration_seconds",
                "Time in one stage of one image.",
                ("stage",),
                buckets=_STAGE_SECONDS,
                registry=self.registry,
            )
        )
        self.inflight = Gauge("fer_inflight_requests", "Requests being answered now.", registry=self.registry)
        self.vision_queue_depth = Gauge(
            "fer_vision_queue_depth", "Images that wait for a vision thread now.", registry=self.registry
        )
        self.queue_depth = Gauge("fer_queue_depth", "Faces waiting for the model now.", registry=self.registry)
        self.batch_size = Histogram(
            "fer_batch_size", "Faces in one model run.", buckets=_BATCH_FACES, registry=self.registry
        )
        self.faces_per_image = Histogram(
            "fer_faces_per_image", "Faces answered for one image.", buckets=_IMAGE_FACES, registry=self.registry
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
        self.open_streams = Gauge("fer_open_streams", "WebSocket streams that are open now.", registry=self.registry)
        self.frames = _by_label(
            Counter(
                "fer_stream_frames",
                "Frames of streams: answered with faces, answered with an error, or dropped for a newer one.",
                ("outcome",),
                registry=self.registry,
            )
        )
        self.frame_seconds = Histogram(
            "fer_stream_frame_duration_seconds",
            "Time from a frame's arrival to its answer.",
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self.model_info = Gauge(
            "fer_model_info",
            "1 for the model that serves.",
            ("name", "version", "sha256", "provider"),
            registry=self.registry,
        )
        self.reloads = _by_label(
            Counter(
                "fer_model_reloads",
                "Model files loaded anew: replaced the model, unchanged, or refused.",
                ("outcome",),
                registry=self.registry,
            )
        )
        self.ready = Gauge("fer_ready", "1 while /readyz answers 200.", registry=self.registry)
        self.deadline_seconds = Gauge(
            "fer_deadline_seconds", "FER_DEADLINE_MS, for alerts that compare with it.", registry=self.registry
        )
        for stage in STAGES:  # every series exists from the start, so that rates never miss a first increment
            self.stage_seconds(stage)
        for outcome in FRAME_OUTCOMES:
            self.frames(outcome)
        for outcome in RELOAD_OUTCOMES:
            self.reloads(outcome)
        for label in LABELS:
            self.predictions(label)


def _by_label(collector: Labelled) -> Callable[..., Labelled]:
    """A collector's series, remembered: every request asks for several, and `labels` takes longer than counting."""
    return cache(collector.labels)
