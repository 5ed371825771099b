"""Prediction of the frames of one stream: track known faces, and search for new faces from time to time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from app.api.stream.frames import Frame
from app.domain import FaceBox, ImageResult, PredictOptions
from app.engine.pipeline import Pipeline
from app.errors import FerError
from app.vision.tracking import MIN_OVERLAP, FaceTracker

# Between two searches of the whole image, detection searches near the known faces only.
SEARCH_EVERY_S = 0.5


class StreamPredictor:
    """Predict the frames of one stream.

    Args:
        options: Options for each frame.
        smoothing: See `FaceTracker`.
    """

    def __init__(self, options: PredictOptions, smoothing: float) -> None:
        self._options = options
        self._tracker = FaceTracker(smoothing)
        self._known: tuple[FaceBox, ...] | None = None  # None before the first frame, which is searched as a whole
        self._new: tuple[FaceBox, ...] = ()
        self._searched_s = 0.0
        self.search: asyncio.Task[None] | None = None

    async def predict(self, frame: Frame, pipeline: Pipeline, deadline: float) -> tuple[ImageResult, list[int]]:
        """Return the result for a frame with smoothed scores, and the track number of each face.

        Args:
            frame: The frame.
            pipeline: Pipeline of the current model.
            deadline: Latest time of the result, in event-loop time.

        Raises:
            FerError: See `Pipeline.predict`.
        """
        self._start_search(frame, pipeline, deadline)
        result = await pipeline.predict(frame.data, self._options, deadline, self._take_known())
        self._known = tuple(face.box for face in result.faces)
        tracked = self._tracker.update(result.faces, frame.arrived_s)
        return replace(result, faces=tuple(each.face for each in tracked)), [each.track for each in tracked]

    def _take_known(self) -> tuple[FaceBox, ...] | None:
        if self._known is None:
            return None
        known, new = self._known, self._new
        self._new = ()
        return known + tuple(box for box in new if all(box.overlap(other) < MIN_OVERLAP for other in known))

    def _start_search(self, frame: Frame, pipeline: Pipeline, deadline: float) -> None:
        """Search the whole image in the background, if the last search is old enough."""
        if frame.arrived_s - self._searched_s < SEARCH_EVERY_S or (self.search and not self.search.done()):
            return
        self._searched_s = frame.arrived_s
        if self._known is not None and self._options.detect:
            self.search = asyncio.create_task(self._find_new(frame, pipeline, deadline))

    async def _find_new(self, frame: Frame, pipeline: Pipeline, deadline: float) -> None:
        with suppress(FerError):  # the response to the frame reports the error
            self._new = await pipeline.find(frame.data, self._options, deadline)
