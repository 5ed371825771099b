"""Samples of a video as JSON lines or CSV rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.api.schemas.prediction import Prediction
from app.cli.output import VIDEO_COLUMNS, as_csv, face_fields, json_text
from app.cli.video.sample import SCORE_DIGITS, Sample
from app.contract.labels import LABELS
from app.domain import ImageResult
from app.vision.tracking import TrackedFace


def sample_json(path: Path, sample: Sample, result: ImageResult, tracked: Sequence[TrackedFace]) -> str:
    """Return the JSON line of one sample: the response of `POST /predict` with the frame, its time and the tracks.

    Args:
        path: The video.
        sample: The frame, its time and its faces.
        result: The result of the frame.
        tracked: The faces with their tracks and smoothed scores, in the order of the sample.
    """
    prediction = Prediction.of(result, request_id="")
    fields = prediction.model_dump(mode="json", exclude={"request_id", "timings_ms"})
    for face, track in zip(fields["faces"], tracked, strict=True):
        face |= {
            "track": track.track,
            "smoothed_emotion": result.doubt.emotion_of(track.face),
            "smoothed_scores": _smoothed(track),
        }
    return json_text(path, {"frame": sample.frame, "time_s": sample.time_s} | fields)


def sample_csv(path: Path, sample: Sample, result: ImageResult, tracked: Sequence[TrackedFace]) -> str:
    """Return one row per face. A frame without faces has one row with 0 faces. See `sample_json`."""
    faces = Prediction.of(result, request_id="").faces
    position = {"path": str(path), "frame": sample.frame, "time_s": sample.time_s, "faces": len(faces)}
    rows = [
        position
        | face_fields(number, face)
        | {"track": track.track, "smoothed_emotion": result.doubt.emotion_of(track.face)}
        | {f"smoothed_{label}": score for label, score in _smoothed(track).items()}
        for number, (face, track) in enumerate(zip(faces, tracked, strict=True), start=1)
    ]
    return as_csv(rows or [position], VIDEO_COLUMNS)


def _smoothed(tracked: TrackedFace) -> dict[str, float]:
    return {label: round(tracked.face.scores[label], SCORE_DIGITS) for label in LABELS}
