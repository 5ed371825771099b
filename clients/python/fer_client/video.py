"""Sampling of videos on the side of the client: only the chosen frames go to the service, one by one, as JPEG."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_client.errors import ApiError
from fer_client.models import FramePrediction

if TYPE_CHECKING:
    from av import VideoFrame

_MAX_SIDE_PX = 1280
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """The answer to one frame of a video.

    Attributes:
        time_s: Time of the frame in the video, in seconds from its first frame.
        result: The faces of the frame, or the error that the service reports for it. Boxes are in pixels of
            `result.image`: frames with a side above 1280 pixels are scaled before they are sent.
    """

    time_s: float
    result: FramePrediction | ApiError


class Samples:
    """The frames of a video file that are sent to the service: an iterator over JPEG files.

    Args:
        path: Video file.
        fps: Frames per second of the video to take. A video with fewer frames is taken as a whole.

    Attributes:
        times_s: Times of the frames that were taken and whose answers are outstanding.

    Raises:
        ValueError: `fps` is not positive, or the file has no video.
        OSError: The file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        import av

        if not fps > 0:
            raise ValueError(f"fps must be positive. Received: {fps}")
        self._step_s = 1 / fps
        try:
            self._container = av.open(os.fspath(path))
        except av.error.InvalidDataError:
            raise ValueError(f"expected a video file. Received: {os.fspath(path)}") from None
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"expected a file with a video stream. Received: {os.fspath(path)}")
        self.times_s: deque[float] = deque()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the frames, and close the file at the end."""
        with self._container:
            first_s = next_s = None
            for frame in self._frames():
                if frame.time is None:
                    continue
                first_s = frame.time if first_s is None else first_s
                time_s = frame.time - first_s
                if next_s is None or time_s >= next_s - self._step_s * 0.01:
                    next_s = (time_s // self._step_s + 1) * self._step_s
                    self.times_s.append(time_s)
                    yield _jpeg(frame)

    def _frames(self) -> Iterator[VideoFrame]:
        """Yield all frames. Damaged parts are left out, as players do."""
        import av

        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        for packet in self._container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue


def _jpeg(frame: VideoFrame) -> bytes:
    """Return the upright frame as a JPEG file."""
    image = frame.to_image()  # type: ignore[no-untyped-call]
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    image.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()
