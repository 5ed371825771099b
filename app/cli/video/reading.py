"""Frames of a video file, with the times at which a player shows them, upright and with square pixels.

PyAV (FFmpeg) is an optional package: `requirements/video.txt`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.contract.preprocess import GreyImage

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# Containers that FFmpeg may open. Playlists (HLS, DASH, concat) are not in the list, because they open other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,mpegvideo,ogg,h264,hevc"
_MISSING_END_S = 1.0
_MISSING_END_SHARE = 0.02  # of the duration; headers round it, and audio may be longer than video
_DEFAULT_RATE = 25.0


class VideoError(Exception):
    """A video that cannot be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        number: Number of the frame in the file, from 1.
        time_s: Time in a player, in seconds from the start of the file, rounded to milliseconds. It never decreases.
        picture: The frame as it is stored.
        pixel_aspect: Width of a stored pixel by its height.
    """

    number: int
    time_s: float
    picture: av.VideoFrame
    pixel_aspect: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frame with square pixels."""
        width, height = self._display_size()
        return (height, width) if self._quarter_turns() % 2 else (width, height)

    def grey(self, width: int, height: int) -> GreyImage:
        """Return the upright frame in this size in pixels, uint8 (height, width)."""
        return self._upright("gray", width, height)

    def rgb(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return the upright frame in this size in pixels, uint8 (height, width, 3)."""
        return self._upright("rgb24", width, height)

    def _upright(self, pixel_format: str, width: int, height: int) -> npt.NDArray[np.uint8]:
        if self._quarter_turns() % 2:
            width, height = height, width
        pixels = self.picture.reformat(width, height, pixel_format, interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, self._quarter_turns()), dtype=np.uint8)

    def _quarter_turns(self) -> int:
        """Return the counterclockwise turns that the metadata asks for."""
        return round(self.picture.rotation / 90) % 4

    def _display_size(self) -> tuple[int, int]:
        return max(1, round(self.picture.width * self.pixel_aspect)), self.picture.height


class Video:
    """An open video file. `open_video` creates it.

    Attributes:
        duration_s: Duration that the header states, in seconds; None if the header does not.
        damaged: Number of parts of the file that could not be decoded so far.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self._path = path
        self._container = container
        self._stream = _video_stream(container)
        self._stream.thread_type = "AUTO"
        self._last_s = 0.0
        self.duration_s = None if container.duration is None else container.duration / 1_000_000
        self.damaged = 0

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order of a player. Damaged parts are skipped and counted.

        Raises:
            VideoError: No frame can be decoded.
        """
        number, aspect = 0, float(self._stream.sample_aspect_ratio or 1)
        for number, (picture, time_s) in enumerate(self._timed(), start=1):
            self._last_s = time_s
            yield Frame(number, time_s, picture, aspect)
        if not number:
            raise VideoError("expected a video with at least one frame. Received: a file whose frames are damaged")

    @property
    def warning(self) -> str:
        """What is wrong with a video whose frames have been read; empty if nothing is."""
        problems = []
        if self.damaged:
            problems.append(f"{self.damaged} damaged parts were skipped")
        missing_s = (self.duration_s or 0.0) - self._last_s
        if missing_s > max(_MISSING_END_S, _MISSING_END_SHARE * (self.duration_s or 0.0)):
            problems.append(f"the pictures end at {self._last_s:.1f} s of {self.duration_s:.1f} s")
        return "; ".join(problems)

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield pictures with their times. Where times go back or are missing, they continue at the frame rate."""
        import av

        start_s = (self._container.start_time or 0) / av.time_base
        step_s = 1 / float(self._stream.average_rate or _DEFAULT_RATE)
        last_s, shift_s = -step_s, -start_s
        for picture in self._pictures():
            if picture.pts is None or picture.time_base is None:
                time_s = last_s + step_s
            else:
                time_s = float(picture.pts * picture.time_base) + shift_s
                if time_s < last_s:
                    shift_s += last_s + step_s - time_s
                    time_s = last_s + step_s
            last_s = max(time_s, 0.0)
            yield picture, round(last_s, 3)

    def _pictures(self) -> Iterator[av.VideoFrame]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):  # the rest of the file cannot be read
                self.damaged += 1
                packet = None
            try:
                pictures = self._stream.decode(packet)
            except av.EOFError:  # the last packet has emptied the decoder
                return
            except av.FFmpegError:
                self.damaged += 1
                pictures = []
            for picture in pictures:
                if picture.is_corrupt:
                    self.damaged += 1
                else:
                    yield picture
            if packet is None:
                return


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video file.

    Args:
        path: The file.

    Raises:
        VideoError: The file cannot be read, is no video, is damaged from its start, or has no pictures.
    """
    import av

    av.logging.set_level(None)  # damaged parts are counted, not printed
    try:
        file = path.open("rb")  # FFmpeg would read a name with a colon as a URL
    except OSError as error:
        raise VideoError(f"cannot read the file: {error.strerror}") from None
    with file:
        try:
            container = av.open(file, "r", options={"format_whitelist": _FORMATS})
        except (av.FFmpegError, OSError) as error:
            if path.stat().st_size == 0:
                raise VideoError("expected a video. Received: an empty file") from None
            detail = "a damaged file or another kind of file"
            raise VideoError(f"expected a video. Received: {detail} ({error.strerror})") from None
        with container:
            yield Video(path, container)


def duration_s(path: Path) -> float:
    """Return the duration that the header of a video states, in seconds; 0 if it is unknown."""
    try:
        with open_video(path) as video:
            return video.duration_s or 0.0
    except VideoError:  # reading the frames reports the error
        return 0.0


def has_video_library() -> bool:
    """Return whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def _video_stream(container: InputContainer) -> av.VideoStream:
    from av.stream import Disposition

    streams = [each for each in container.streams.video if Disposition.attached_pic not in each.disposition]
    if not streams:
        raise VideoError("expected a video. Received: a file without pictures, such as audio only")
    return streams[0]
