"""Generated videos: faces for `FakeDetector` and `FakeClassifier` at known places and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.labels import LABELS

TILE_PX = 40
_BAND_LEVEL = 200


def scene(faces: Mapping[tuple[int, int], str], columns: int = 4, rows: int = 3) -> np.ndarray:
    """Return a grey frame, uint8 (40 * rows, 40 * columns).

    Args:
        faces: The emotion that the fakes report for the face in the tile of this column and row.
        columns: Number of tiles in a row.
        rows: Number of rows of tiles.
    """
    grey = np.zeros((rows * TILE_PX, columns * TILE_PX), np.uint8)
    for (column, row), emotion in faces.items():
        top, left = row * TILE_PX, column * TILE_PX
        # `FakeClassifier` takes the logit of label k from row 6k of the 48 rows of the crop.
        centre = LABELS.index(emotion) * TILE_PX // 8
        grey[top + max(0, centre - 2) : top + centre + 3, max(0, left - 8) : left + 8] = _BAND_LEVEL
        grey[top + 16 : top + 25, left + 16 : left + 25] = 255
    return grey


def write_video(
    path: Path, frames: Iterable[tuple[float, np.ndarray]], *, rotation: int = 0, aspect: str = "1/1", **stream: Any
) -> Path:
    """Write frames, uint8 (H, W), at their times in seconds, without loss.

    Args:
        path: The file; its suffix selects the container.
        frames: Times and frames.
        rotation: Rotation in the metadata, in degrees counterclockwise.
        aspect: Width of a pixel by its height.
        stream: Options of the encoder, such as `g` for the distance of key frames.
    """
    import av

    options = {"qp": "0", "preset": "ultrafast"} | {name: str(value) for name, value in stream.items()}
    time_base = Fraction(1, 90_000)
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25, options=options)
        video.pix_fmt, video.codec_context.time_base = "yuv444p", time_base
        video.codec_context.sample_aspect_ratio = Fraction(aspect)
        if rotation:
            video.set_display_rotation(rotation)
        for time_s, grey in frames:
            if not video.codec_context.is_open:
                video.height, video.width = grey.shape
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray").reformat(format="yuv444p")
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """Write a tenth of a second of silence, without pictures."""
    import av

    with av.open(path, "w") as container:
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path
