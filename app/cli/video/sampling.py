"""Choice of the frames to classify: the first frame of each interval of the file's own times."""

from __future__ import annotations

import math

# Containers round times to milliseconds: a frame that is early by less than this belongs to the next interval.
_ROUNDING_S = 0.001


class Sampler:
    """Choose frames at a rate, whatever the frame rate of the video and however much it varies.

    Args:
        fps: Frames to choose per second of video. A video with fewer frames has all of them chosen.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next_s = -math.inf

    def takes(self, time_s: float) -> bool:
        """Return whether to classify the frame at this time in seconds, which is not before that of the last call."""
        if time_s + _ROUNDING_S < self._next_s:
            return False
        self._next_s = (math.floor((time_s + _ROUNDING_S) * self._fps) + 1) / self._fps
        return True
