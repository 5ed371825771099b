"""Fakes of the model and the detector, so that a test of the HTTP API takes milliseconds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.contract.labels import LABELS
from app.contract.manifest import INPUT_SHAPE, OUTPUT_SHAPE, Contract, Manifest, PredictionSets, Provenance, TensorSpec
from app.contract.preprocess import PREPROCESS_ID
from app.domain import Detection, FaceBox, Point

SET_THRESHOLDS = {label: 0.05 * (code + 1) for code, label in enumerate(LABELS)}


def make_manifest(**changes: Any) -> Manifest:
    """Return the manifest of a fake model.

    Args:
        changes: Fields of the contract with other values.
    """
    contract = {
        "schema_version": 1,
        "name": "fake",
        "version": "2026.11.1",
        "labels": LABELS,
        "preprocess_id": PREPROCESS_ID,
        "input": TensorSpec(name="image", dtype="uint8", shape=INPUT_SHAPE),
        "output": TensorSpec(name="logits", dtype="float32", shape=OUTPUT_SHAPE),
        "temperature": 1.0,
    }
    provenance = Provenance(commit="0" * 40, config={}, dataset={}, seed=0, packages={}, hardware={}, wall_s=0.0)
    sets = PredictionSets(method="class_conditional", thresholds=SET_THRESHOLDS)
    return Manifest(
        contract=Contract(**(contract | changes)),
        provenance=provenance,
        sha256="0" * 64,
        prediction_sets={"0.9": sets},
    )


FAKE_CONFIDENCE = 0.75  # of every face of `FakeDetector`


class FakeClassifier:
    """Classifier whose logits depend only on the pixels of the crop, so that tests detect a wrong order in a batch.

    Attributes:
        manifest: Manifest of the fake model.
        batches: Size of every batch so far.
        released: While this event is cleared, `classify` waits.
        poison: Grey level of a crop's first pixel that makes its batch fail; None for no failure.
    """

    provider = "FakeProvider"

    def __init__(self) -> None:
        self.manifest = make_manifest()
        self.batches: list[int] = []
        self.released = threading.Event()
        self.released.set()
        self.poison: int | None = None

    def classify(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return seven logits for each crop."""
        assert self.released.wait(10)
        self.batches.append(len(crops))
        if self.poison is not None and any(int(crop[0, 0, 0]) == self.poison for crop in crops):
            raise RuntimeError("poisoned /secret/path")
        return [crop[:: 48 // 7, 0, 0][:7].astype(np.float32) / 64 for crop in crops]


class FakeDetector:
    """Detector that finds a face in every 40x40 tile with a white centre.

    Args:
        accept: Ignored; the real detector takes a function.
    """

    def __init__(self, accept: object = None) -> None:
        del accept

    def detect(self, grey: np.ndarray) -> list[Detection]:
        """Return the faces of an image, uint8 (H, W), the largest first."""
        found = [
            Detection(FaceBox(x, y, 40, 40), FAKE_CONFIDENCE)
            for y in range(0, grey.shape[0] - 39, 40)
            for x in range(0, grey.shape[1] - 39, 40)
            if grey[y + 20, x + 20] > 250
        ]
        return sorted(found, key=lambda face: -face.box.area_px)

    def track(self, grey: np.ndarray, known: Sequence[FaceBox]) -> list[Detection]:
        """Return the same faces as `detect`."""
        return self.detect(grey)


class LandmarkDetector(FakeDetector):
    """Detector that also knows the roll and five landmarks of each face."""

    def detect(self, grey: np.ndarray) -> list[Detection]:
        """Return faces that are turned by 20 degrees."""
        places = ((10.04, 12), (30, 19), (18, 22), (8, 28), (25, 34))
        return [
            replace(
                face,
                confidence=0.9,
                roll_degrees=20.04,
                landmarks=tuple(Point(face.box.x + x, face.box.y + y) for x, y in places),
            )
            for face in super().detect(grey)
        ]


class BlockingDetector(FakeDetector):
    """Detector that waits in `detect`.

    Attributes:
        released: `detect` returns when this event is set.
        calls: Number of calls of `detect`.
    """

    def __init__(self) -> None:
        self.released = threading.Event()
        self.calls = 0

    def detect(self, grey: np.ndarray) -> list[Detection]:
        """Wait, then return the faces of an image."""
        self.calls += 1
        assert self.released.wait(30)
        return super().detect(grey)
