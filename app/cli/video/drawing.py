"""Annotated copy of a video: every frame at its time, with the boxes and the emotions of its faces.

The copy is VP9 in WebM, which all current browsers play and whose encoder (libvpx) has a BSD licence.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.cli.draw import mark
from app.cli.video.reading import Frame, VideoError, open_video
from app.cli.video.timeline import Timeline

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

SUFFIX = ".webm"
_MAX_SIDE_PX = 1280
_NOMINAL_RATE = 30  # the times of the frames count
_TIME_BASE = Fraction(1, 1000)  # of WebM
# Constant quality at the encoder's fastest settings.
_ENCODER = {"crf": "33", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}


def draw_video(path: Path, timeline: Timeline, destination: Path) -> Iterator[float]:
    """Write a copy of a video, without sound, whose long side is at most 1280 pixels.

    Args:
        path: The video, which has been classified.
        timeline: Its tracks.
        destination: The file to write. Missing folders are created. An interrupted run leaves no file of this name.

    Yields:
        The time of each frame in seconds, for a progress bar.

    Raises:
        VideoError: The copy cannot be written.
    """
    import av

    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(destination.name + ".part")
    try:
        with open_video(path) as video, av.open(unfinished, "w", format="webm") as output:
            stream, last_pts = _add_stream(output, *_size_of_copy(*timeline.size)), -1
            for frame in video.frames():
                pts = round(frame.time_s / _TIME_BASE)
                if pts == last_pts:
                    continue
                picture = av.VideoFrame.from_ndarray(_annotated(frame, timeline, (stream.width, stream.height)))
                picture.pts, picture.time_base, last_pts = pts, _TIME_BASE, pts
                output.mux(stream.encode(picture))
                yield frame.time_s
            output.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise VideoError(f"cannot write {unfinished}: {error.strerror}") from None
    unfinished.replace(destination)


def _add_stream(output: OutputContainer, width: int, height: int) -> VideoStream:
    stream = output.add_stream("libvpx-vp9", rate=_NOMINAL_RATE, options=_ENCODER)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = _TIME_BASE
    return stream


def _annotated(frame: Frame, timeline: Timeline, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(frame.rgb(*size))
    scale = size[0] / timeline.size[0]
    mark(image, ((face.box.scaled(scale), face.label) for face in timeline.marks(frame.time_s)))
    return np.asarray(image)


def _size_of_copy(width: int, height: int) -> tuple[int, int]:
    """Return the size of the copy. Both sides are even, because colour has half of the resolution."""
    scale = min(1.0, _MAX_SIDE_PX / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
