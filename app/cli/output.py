"""Results as JSON lines or CSV. Each image is written at once, so that `--resume` can continue an interrupted run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from app.api.schemas.prediction import Face, Prediction
from app.contract.labels import LABELS
from app.domain import ImageResult

BOX = ("x", "y", "width", "height")
# Error handler that keeps the bytes of file names that are not UTF-8.
FILENAME_ERRORS = "surrogateescape"
_FACE = (*BOX, "detection_confidence", "emotion", "confidence", *LABELS, "prediction_set")
CSV_COLUMNS = ("path", "faces", "face", *_FACE)
# Columns of a command with at least one video. The rows of images have no frame, time and track.
VIDEO_COLUMNS = (
    "path",
    "frame",
    "time_s",
    "faces",
    "face",
    "track",
    *_FACE,
    "smoothed_emotion",
    *(f"smoothed_{label}" for label in LABELS),
)


def json_line(path: Path, result: ImageResult) -> str:
    """Return the JSON line of one image: the response of `POST /predict` with the path of the file."""
    prediction = Prediction.of(result, request_id="")
    return json_text(path, prediction.model_dump(mode="json", exclude={"request_id", "timings_ms"}))


def json_text(path: Path, fields: Mapping[str, object]) -> str:
    """Return the JSON line of these fields with the path of the file."""
    # JSON is UTF-8. Escapes keep a name that is not UTF-8 and give the same name when they are read again.
    return json.dumps({"path": str(path)} | dict(fields), ensure_ascii=not _is_utf8(path)) + "\n"


def csv_rows(path: Path, result: ImageResult, columns: Sequence[str] = CSV_COLUMNS) -> str:
    """Return one row per face, numbered from 1. An image without faces has one row with 0 faces."""
    faces = Prediction.of(result, request_id="").faces
    image: dict[str, object] = {"path": str(path), "faces": len(faces)}
    return as_csv([image | face_fields(number, face) for number, face in enumerate(faces, start=1)] or [image], columns)


def face_fields(number: int, face: Face) -> dict[str, object]:
    """Return the columns of one face.

    Args:
        number: Number of the face in its image, from 1.
        face: The face.
    """
    return {
        "face": number,
        **{name: getattr(face.box, name) for name in BOX},
        "detection_confidence": face.detection_confidence,
        "emotion": face.emotion,
        "confidence": face.confidence,
        **{str(label): score for label, score in face.scores.items()},
        "prediction_set": " ".join(face.prediction_set or ()),
    }


def as_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return rows in CSV. A column that a row does not have is empty."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()


def csv_header(columns: Sequence[str]) -> str:
    """Return the first line of a CSV output."""
    return ",".join(columns) + "\n"


def open_output(output: Path, append: bool) -> TextIO:
    """Open a file for results in UTF-8, and make its folder. File names that are not UTF-8 keep their bytes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.open("a" if append else "w", encoding="utf-8", errors=FILENAME_ERRORS, newline="")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
