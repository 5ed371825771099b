"""The frame that waits: it is counted in the byte budget."""

from __future__ import annotations

import asyncio

import pytest

from app.api.byte_budget import ByteBudget, HeldBytes
from app.api.stream.frames import Frame, NewestFrame
from app.errors import ErrorCode, FerError


def test_the_waiting_frame_holds_its_memory_until_it_is_taken_dropped_or_refused():
    budget = ByteBudget(100)
    frames = NewestFrame(lambda: None, HeldBytes(budget))
    frames.put(Frame(1, bytes(60), 0.0))
    assert budget.held_bytes == 60
    frames.put(Frame(2, bytes(90), 0.0))  # replaces the first frame
    assert budget.held_bytes == 90
    taken = asyncio.run(frames.take())
    assert (taken.number, budget.held_bytes) == (2, 0)
    with pytest.raises(FerError) as refused:
        frames.put(Frame(3, bytes(101), 0.0))
    assert (refused.value.code, budget.held_bytes) == (ErrorCode.OVERLOADED, 0)
    frames.put(Frame(4, bytes(10), 0.0))
    frames.end()
    assert budget.held_bytes == 0
