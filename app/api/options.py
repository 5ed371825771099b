"""What a caller may choose, as query parameters: the same for every way to send an image."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from app.domain import PredictOptions


# Asynchronous, though it waits for nothing: FastAPI runs plain functions in threads, and handing this one over and back
# costs more than all else that a small request needs.
async def _options(
    detect: Annotated[
        bool, Query(description="false: the image is already one cropped face; classify all of it")
    ] = True,
    max_faces: Annotated[int, Query(ge=1, le=1000, description="keep the largest N faces")] = 100,
    min_face_size: Annotated[int, Query(ge=0, le=100_000, description="drop faces smaller than this many pixels")] = 0,
    require_face: Annotated[bool, Query(description="true: an image without a face is an error")] = False,
) -> PredictOptions:
    return PredictOptions(detect, max_faces, min_face_size, require_face)


Options = Annotated[PredictOptions, Depends(_options)]
