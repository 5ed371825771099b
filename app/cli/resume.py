"""Output of an earlier run: its incomplete end is removed, the rest is read one entry at a time."""

from __future__ import annotations

import csv
import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli.output import BOX, FILENAME_ERRORS, as_csv, csv_header, open_output
from app.cli.video.sample import Sample
from app.contract.labels import LABELS
from app.domain import FaceBox, FaceEmotion

_BLOCK_BYTES = 65_536
_JSON_START = '{"path": "'

# An image or, with a sample, a frame of a video.
Entry = tuple[Path, Sample | None]


class ResumeError(Exception):
    """The output to resume has another format. The message says what was expected."""


def resume_json(output: Path) -> Iterator[Entry]:
    """Remove an incomplete last line from a JSON output, and yield its entries.

    Raises:
        ResumeError: The file has another format.
    """
    if not output.exists():
        return
    _check_start(output, _JSON_START, "the JSON lines of an earlier run")
    _remove_incomplete_line(output)
    with output.open(encoding="utf-8", errors=FILENAME_ERRORS, newline="\n") as lines:
        for line in lines:
            try:
                yield _json_entry(json.loads(line))
            except (ValueError, KeyError, TypeError):
                detail = f"expected the JSON lines of an earlier run in {output}. Received: another format"
                raise ResumeError(detail) from None


def resume_csv(output: Path, columns: Sequence[str]) -> Iterator[Entry]:
    """Remove the rows of an incomplete last image or frame from a CSV output, and yield its entries.

    Args:
        output: The file.
        columns: Columns of this command.

    Raises:
        ResumeError: The file has another format.
    """
    if not output.exists():
        return
    _check_start(output, csv_header(columns), "a CSV file with the columns of this command")
    _remove_incomplete_line(output)
    last = deque(_csv_groups(output), maxlen=1)
    if last and not _is_complete(last[0]):
        _remove_last_group(output, columns)
    for rows in _csv_groups(output):
        yield _csv_entry(rows)


def _json_entry(fields: Mapping[str, Any]) -> Entry:
    path = Path(fields["path"])
    if "frame" not in fields:
        return path, None
    faces = (_face(face["box"], face["detection_confidence"], face["scores"]) for face in fields["faces"])
    return path, Sample.of(fields["frame"], fields["time_s"], tuple(faces))


def _csv_entry(rows: Sequence[Mapping[str, Any]]) -> Entry:
    path = Path(rows[0]["path"])
    if not rows[0].get("frame"):
        return path, None
    faces = tuple(_face(row, row["detection_confidence"] or None, row) for row in rows if row["face"])
    return path, Sample.of(int(rows[0]["frame"]), float(rows[0]["time_s"]), faces)


def _face(box: Mapping[str, Any], detection_confidence: Any, scores: Mapping[str, Any]) -> FaceEmotion:
    values = {label: float(scores[label]) for label in LABELS}
    emotion = max(values, key=values.__getitem__)
    detected = None if detection_confidence is None else float(detection_confidence)
    return FaceEmotion(FaceBox(*(int(box[name]) for name in BOX)), detected, values, emotion, values[emotion])


def _csv_groups(output: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each image or frame."""
    with output.open(encoding="utf-8", errors=FILENAME_ERRORS, newline="") as file:
        rows = csv.DictReader(file)
        for _, group in itertools.groupby(rows, lambda row: (row["path"], row.get("frame"))):
            yield list(group)


def _is_complete(rows: Sequence[Mapping[str, Any]]) -> bool:
    return None not in rows[-1].values() and len(rows) == max(1, int(rows[-1]["faces"]))


def _remove_last_group(output: Path, columns: Sequence[str]) -> None:
    shorter = output.with_name(output.name + ".part")
    with open_output(shorter, append=False) as stream:
        stream.write(csv_header(columns))
        for rows, _ in itertools.pairwise(_csv_groups(output)):
            stream.write(as_csv(rows, columns))
    shorter.replace(output)


def _check_start(output: Path, start: str, expected: str) -> None:
    """Refuse a file with another start than an output has. A run may have been interrupted within the start.

    Raises:
        ResumeError: The file has another format.
    """
    with output.open(encoding="utf-8", errors=FILENAME_ERRORS, newline="") as file:
        received = file.read(len(start))
    if not start.startswith(received):
        raise ResumeError(f"expected {expected} in {output}. Received: {received.splitlines()[0][:100]!r}")


def _remove_incomplete_line(output: Path) -> None:
    """Cut a file after its last line end."""
    with output.open("rb+") as file:
        end = file.seek(0, 2)
        while end:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            position = file.read(end - start).rfind(b"\n")
            if position >= 0:
                end = start + position + 1
                break
            end = start
        file.truncate(end)
