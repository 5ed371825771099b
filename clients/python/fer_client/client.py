"""Synchronous client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from fer_client import messages
from fer_client.errors import ApiError
from fer_client.messages import DEFAULT_TIMEOUT_S, OK, Image
from fer_client.models import Prediction
from fer_client.retries import RETRIED_STATUSES, RetryPolicy


class FerClient:
    """Client of one fer-serve instance. Thread-safe; use one client for many requests, and close it.

    Args:
        url: Base URL of the service, such as `http://127.0.0.1:8000`.
        api_key: API key, if the service requires one.
        timeout_s: Timeout in seconds of the connection, and of each wait for data, in one attempt.
        retries: Retry policy for the statuses 502, 503 and 504 and for failed connections.
        transport: httpx2 transport, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._http = httpx2.Client(
            base_url=url, headers=messages.headers(api_key), timeout=timeout_s, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self,
        image: Image,
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size: int | None = None,
        require_face: bool = False,
        min_detection_confidence: float | None = None,
    ) -> Prediction:
        """Detect and classify the faces of one image.

        Args:
            image: Path or bytes of an image file.
            detect: False if the image is one cropped face.
            max_faces: Maximum number of faces, largest first; None keeps the service's default.
            min_face_size: Minimum size of a face in pixels of the upright image; None keeps the service's default.
            require_face: Raise `ApiError` with the code `no_face_detected` if the image has no face.
            min_detection_confidence: Smallest `detection_confidence` of a face, 0 to 1; None keeps the
                service's default.

        Returns:
            The faces of the image with their emotions.

        Raises:
            ApiError: The service answered with an error.
            ConnectionFailedError: No response arrived.
            OSError: The file cannot be read.
            TypeError: `image` is neither a path nor bytes.
        """
        parameters = messages.query(detect, max_faces, min_face_size, require_face, min_detection_confidence)
        response = self._send("POST", "/predict", params=parameters, content=messages.image_bytes(image))
        return messages.read_prediction(response)

    def predict_batch(
        self,
        images: Sequence[Image],
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size: int | None = None,
        require_face: bool = False,
        min_detection_confidence: float | None = None,
    ) -> list[Prediction | ApiError]:
        """Detect and classify the faces of several images in one request.

        Args:
            images: Paths or bytes of image files, at most as many as `max_images` in `info()`.
            detect: See `predict`; applies to every image, as do the options below.
            max_faces: See `predict`.
            min_face_size: See `predict`.
            require_face: See `predict`.
            min_detection_confidence: See `predict`.

        Returns:
            For each image, in input order, its prediction or the error that the service reports for it.

        Raises:
            ApiError: The service refused the whole request. For the other exceptions see `predict`.
        """
        parameters = messages.query(detect, max_faces, min_face_size, require_face, min_detection_confidence)
        response = self._send("POST", "/predict/batch", params=parameters, files=messages.form_files(images))
        return messages.read_batch(response)

    def info(self) -> dict[str, Any]:
        """Return the model, its metrics and the limits of the service, from `GET /info`."""
        return messages.read_info(self._send("GET", "/info"))

    def is_ready(self) -> bool:
        """Return whether the service accepts requests. Sends one request without retries."""
        try:
            return bool(self._http.get("/readyz").status_code == OK)
        except httpx2.TransportError:
            return False

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            retry_after = None
            try:
                response = self._http.request(method, path, **arguments)
            except httpx2.TransportError as error:
                if is_last:
                    raise messages.connection_error(error, attempt) from error
            else:
                if is_last or response.status_code not in RETRIED_STATUSES:
                    return messages.check_status(response)
                retry_after = response.headers.get("retry-after")
            time.sleep(self._retries.wait_s(attempt, retry_after))
        raise AssertionError("unreachable: the last attempt returns or raises")
