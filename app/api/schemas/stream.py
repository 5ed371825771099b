"""The messages of `/ws`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, Field

from app.api.schemas.base import Document
from app.api.schemas.prediction import Face, Prediction
from app.api.schemas.problem import Problem
from app.domain import ImageResult


class TrackedFace(Face):
    """A face of a frame."""

    track: int = Field(description="number of the track: the same for one face in consecutive frames")


class FramePrediction(Prediction):
    """The response to one frame: the document of `POST /predict`, and the position in the stream."""

    faces: tuple[TrackedFace, ...] = Field(description="largest first")
    frame: int = Field(description="number of the frame; 1 for the first frame that arrived")
    dropped: int = Field(description="number of frames of this stream that were dropped so far")

    @classmethod
    def of_frame(
        cls, result: ImageResult, tracks: Sequence[int], request_id: str, frame: int, dropped: int
    ) -> FramePrediction:
        """Render the result for one frame.

        Args:
            result: Result for the frame.
            tracks: Track number of each face of the result.
            request_id: Id of the stream.
            frame: Number of the frame.
            dropped: Number of dropped frames.
        """
        prediction = Prediction.of(result, request_id)
        faces = tuple(
            TrackedFace(**dict(face), track=track) for face, track in zip(prediction.faces, tracks, strict=True)
        )
        return cls(**(dict(prediction) | {"faces": faces}), frame=frame, dropped=dropped)


class StreamError(Document):
    """An error in a stream."""

    frame: int | None = Field(description="number of the frame; null if the error concerns the whole stream")
    dropped: int
    error: Problem


class StreamKey(Document):
    """The first message of a client that cannot set headers, such as a script of a web page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: str
