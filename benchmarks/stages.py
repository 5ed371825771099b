"""What each stage costs alone, in processor time of one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from app.contract.preprocess import crop_face, resize_to_crop
from app.inference.session import EmotionSession
from app.vision.decode import decode_grey
from app.vision.detection.detector import FaceDetector
from benchmarks.workloads import FACES, PHOTOGRAPHS, Workload
from tests.support.paths import REPOSITORY

BATCHES = (1, 2, 4, 8, 16, 32, 64)
MAX_PIXELS = 40_000_000

Answer = TypeVar("Answer")


def measure_stages(workloads: Mapping[str, Workload], rounds: int) -> dict[str, Any]:
    """Milliseconds of every file in every stage, and of a face by the size of its batch.

    Returns:
        `files` by workload: for each file its size and, for each stage, a list with one entry a round; `classify`:
        by batch, milliseconds a face, one entry a round.
    """
    cv2.setNumThreads(1)
    session = EmotionSession(Path(REPOSITORY / "models" / "fer_vgg.onnx"), "cpu", threads=1)
    detector = FaceDetector()
    files = {
        name: [_measure_file(detector, session, file, workload.detect, rounds) for file in workload.files]
        for name, workload in workloads.items()
    }
    if PHOTOGRAPHS in files:
        for measured, name in zip(files[PHOTOGRAPHS], workloads[PHOTOGRAPHS].names, strict=True):
            measured["name"] = name
    face = resize_to_crop(decode_grey(workloads[FACES].files[0], MAX_PIXELS))
    classify = {}
    for batch in BATCHES:
        crops = [face] * batch
        session.classify(crops)
        classify[str(batch)] = [_timed(lambda crops=crops: session.classify(crops))[0] / batch for _ in range(rounds)]
    return {"files": files, "classify": classify}


def _measure_file(
    detector: FaceDetector, session: EmotionSession, file: bytes, detect: bool, rounds: int
) -> dict[str, Any]:
    times: dict[str, list[float]] = {"decode_ms": [], "detect_ms": [], "crop_ms": [], "classify_ms": [], "whole_ms": []}
    faces, shape = 0, (0, 0)
    for _ in range(rounds):
        decode_ms, grey = _timed(lambda: decode_grey(file, MAX_PIXELS))
        shape = grey.shape
        detect_ms, found = _timed(lambda grey=grey: detector.detect(grey)) if detect else (0.0, [])
        if detect:
            crop_ms, crops = _timed(lambda grey=grey, found=found: [crop_face(grey, face.box) for face in found])
        else:
            crop_ms, crops = _timed(lambda grey=grey: [resize_to_crop(grey)])
        classify_ms, _ = _timed(lambda crops=crops: session.classify(crops)) if crops else (0.0, [])
        faces = len(crops)
        stage_ms = {"decode_ms": decode_ms, "detect_ms": detect_ms, "crop_ms": crop_ms, "classify_ms": classify_ms}
        for name, milliseconds in (stage_ms | {"whole_ms": sum(stage_ms.values())}).items():
            times[name].append(milliseconds)
    return {"bytes": len(file), "width_px": shape[1], "height_px": shape[0], "faces": faces} | times


def _timed(stage: Callable[[], Answer]) -> tuple[float, Answer]:
    started = time.thread_time()
    answer = stage()
    return (time.thread_time() - started) * 1000, answer


def file_medians(measured: list[dict[str, Any]], stage: str) -> list[float]:
    """The median round of every file."""
    return [float(np.median(file[stage])) for file in measured]
