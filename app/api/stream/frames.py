"""The frames of one stream between their arrival and their response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from app.api.byte_budget import HeldBytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary message.

    Attributes:
        number: Number of the frame in its stream, from 1.
        data: The image file.
        arrived_s: Time of arrival, in event-loop time.
    """

    number: int
    data: bytes
    arrived_s: float


class NewestFrame:
    """Queue of one frame: a newer frame replaces the one that waits.

    Args:
        on_drop: Called for each frame that is dropped.
        memory: Holds the memory of the frame that waits.

    Attributes:
        dropped: Number of dropped frames.
    """

    def __init__(self, on_drop: Callable[[], None], memory: HeldBytes) -> None:
        self._on_drop = on_drop
        self._memory = memory
        self._frame: Frame | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Add a frame. After the end the frame is dropped at once.

        Raises:
            FerError: `overloaded`: there is no memory for the frame.
        """
        self._drop()
        self._memory.hold(len(frame.data))
        self._frame = frame
        if self._ended:
            self._drop()
        self._changed.set()

    def end(self) -> None:
        """Drop the waiting frame, and return no frame any more."""
        self._drop()
        self._ended = True
        self._changed.set()

    async def take(self) -> Frame | None:
        """Wait for a frame and remove it; None at the end."""
        while self._frame is None and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        frame, self._frame = self._frame, None
        self._memory.release()
        return frame

    def _drop(self) -> None:
        if self._frame is not None:
            self._frame = None
            self._memory.release()
            self.dropped += 1
            self._on_drop()
