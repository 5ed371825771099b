"""Example documents for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from app.contract.labels import LABELS

REQUEST_ID = "5f0c9a7e3b1d4c1f8e2a6b7c8d9e0f1a"
SCORES = dict(zip(LABELS, (0.01, 0.0, 0.01, 0.93, 0.01, 0.02, 0.02), strict=True))
FACE: dict[str, Any] = {
    "box": {"x": 112, "y": 80, "width": 96, "height": 96},
    "detection_confidence": 0.997,
    "roll_degrees": None,
    "landmarks": None,
    "emotion": "happy",
    "confidence": 0.93,
    "scores": SCORES,
    "prediction_set": None,
}
PREDICTION: dict[str, Any] = {
    "emotion": "happy",
    "confidence": 0.93,
    "scores": SCORES,
    "faces": [FACE],
    "image": {"width": 640, "height": 480},
    "model": {"name": "fer_vgg", "version": "2026.11.1"},
    "timings_ms": {"vision_queue": 0.0, "decode": 1.2, "detect": 8.9, "queue": 0.1, "infer": 2.4, "total": 12.9},
    "request_id": REQUEST_ID,
    "warnings": [],
}

_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
RELOADED: dict[str, Any] = {
    "model": PREDICTION["model"],
    "sha256": _SHA256,
    "replaced": True,
    "request_id": REQUEST_ID,
}
INFO: dict[str, Any] = {
    **PREDICTION["model"],
    "sha256": _SHA256,
    "labels": list(LABELS),
    "preprocess_id": "grey48-box1.04-area-contrast35-v2",
    "temperature": 1.2,
    "provider": "CPUExecutionProvider",
    "detector": "haar",
    "commit": "e61438956d40074cbe20a166a320bc8be846bec6",
    "metrics": {},
    "coverages": [0.8, 0.9, 0.95],
    "limits": {
        "max_body_bytes": 20_971_520,
        "max_pixels": 40_000_000,
        "max_images": 32,
        "max_batch": 64,
        "max_queue": 256,
        "deadline_ms": 5000,
    },
    "source_url": "https://git.example.com/fer-serve",
}
