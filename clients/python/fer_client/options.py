"""The options of a prediction: the query parameters of the API, by their names."""

from __future__ import annotations

from typing import TypedDict


class Options(TypedDict, total=False):
    """Keyword arguments of `predict`, `predict_batch`, `stream` and `predict_video`. None keeps the service's default.

    Attributes:
        detect: False if the image is one cropped face.
        max_faces: Maximum number of faces, largest first.
        min_face_size: Minimum size of a face in pixels of the upright image.
        require_face: Report the error `no_face_detected` for an image without a face.
        min_detection_confidence: Smallest `detection_confidence` of a face, 0 to 1.
        min_confidence: A face whose highest score is below this value (0 to 1) has the emotion `"uncertain"`.
        coverage: 0.8, 0.9 or 0.95 adds `prediction_set` to each face: the smallest set of emotions that holds the label
            with this frequency. `info()["coverages"]` lists the values that the model supports.
    """

    detect: bool | None
    max_faces: int | None
    min_face_size: int | None
    require_face: bool | None
    min_detection_confidence: float | None
    min_confidence: float | None
    coverage: float | None


def query(options: Options) -> dict[str, str]:
    """Return the query parameters of the given options.

    Raises:
        TypeError: An option is unknown.
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        known = ", ".join(Options.__annotations__)
        raise TypeError(f"expected the options {known}. Received: {', '.join(sorted(unknown))}")
    return {name: str(value).lower() for name, value in options.items() if value is not None}
