"""CPU time of each stage of the pipeline on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import cv2
import numpy as np

from app.config import Settings
from app.contract.preprocess import GreyImage, crop_face, resize_to_crop
from app.domain import Detection
from app.engine.vision_stages import Detector
from app.inference.session import EmotionSession
from app.main import load_detector
from app.vision.decode import decode_grey, decode_image, reduction
from benchmarks.workloads import FACES, PHOTOGRAPHS, Workload
from tests.support.paths import REPOSITORY

BATCHES = (1, 2, 4, 8, 16, 32, 64)
MAX_PIXELS = 40_000_000
STAGES = ("decode_ms", "detect_ms", "crop_ms", "classify_ms")
TOTAL = "total_ms"
_MODEL = REPOSITORY / "models" / "fer_vgg.onnx"

Result = TypeVar("Result")


def measure_stages(workloads: Mapping[str, Workload], rounds: int) -> dict[str, Any]:
    """Measure every file in every stage, and one face by the size of its batch.

    Returns:
        `files`: workload -> one entry per file with its size and one list per stage, in milliseconds per round.
        `classify`: batch size -> milliseconds per face, one entry per round.
    """
    cv2.setNumThreads(1)
    session = EmotionSession(_MODEL, "cpu", threads=1)
    detector = load_detector(Settings())
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
        classify[str(batch)] = [_timed(partial(session.classify, crops))[0] / batch for _ in range(rounds)]
    return {"files": files, "classify": classify}


def _measure_file(
    detector: Detector, session: EmotionSession, file: bytes, detect: bool, rounds: int
) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in (*STAGES, TOTAL)}
    faces, size = 0, (0, 0)
    choose = reduction.for_detection if detect else reduction.for_one_face
    for _ in range(rounds):
        decode_ms, image = _timed(partial(decode_image, file, MAX_PIXELS, choose))
        grey, size = image.grey, (image.width_px, image.height_px)
        detect_ms, found = _timed(partial(detector.detect, grey)) if detect else (0.0, [])
        crop_ms, crops = _timed(partial(_crop, grey, found if detect else None))
        classify_ms, _ = _timed(partial(session.classify, crops)) if crops else (0.0, [])
        faces = len(crops)
        round_ms = (decode_ms, detect_ms, crop_ms, classify_ms)
        for name, milliseconds in zip((*STAGES, TOTAL), (*round_ms, sum(round_ms)), strict=True):
            times[name].append(milliseconds)
    return {"bytes": len(file), "width_px": size[0], "height_px": size[1], "faces": faces} | times


def _crop(grey: GreyImage, found: list[Detection] | None) -> list[GreyImage]:
    return [resize_to_crop(grey)] if found is None else [crop_face(grey, face.box) for face in found]


def _timed(stage: Callable[[], Result]) -> tuple[float, Result]:
    """Return the CPU time of this thread in milliseconds, and the result of the stage."""
    started = time.thread_time()
    result = stage()
    return (time.thread_time() - started) * 1000, result


def file_medians(measured: list[dict[str, Any]], stage: str) -> list[float]:
    """Return the median over the rounds for each file, in milliseconds."""
    return [float(np.median(file[stage])) for file in measured]
