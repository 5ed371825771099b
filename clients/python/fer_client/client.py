"""Synchronous client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from fer_client import messages, streaming
from fer_client.errors import ApiError
from fer_client.messages import DEFAULT_TIMEOUT_S, OK, Image
from fer_client.models import FramePrediction, Prediction
from fer_client.options import Options, query
from fer_client.retries import RETRIED_STATUSES, RetryPolicy
from fer_client.video import Samples, VideoAnswer


class FerClient:
    """Client of one fer-serve instance. Thread-safe; use one client for many requests, and close it.

    Args:
        url: Base URL of the service, such as `http://127.0.0.1:8000`.
        api_key: API key, if the service requires one.
        timeout_s: Timeout in seconds of the connection, and of each wait for data, in one attempt.
        retries: Retry policy for the statuses 502, 503 and 504 and for failed connections.
        transport: httpx2 transport, for tests.

    Raises:
        ValueError: `url` does not begin with http:// or https://, or a header cannot carry `api_key`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._url, self._headers, self._timeout_s = messages.check_url(url), messages.headers(api_key), timeout_s
        self._retries = retries or RetryPolicy()
        self._http = httpx2.Client(base_url=url, headers=self._headers, timeout=timeout_s, transport=transport)

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
        **options: Unpack[Options],
    ) -> Prediction:
        """Detect and classify the faces of one image.

        Args:
            image: Path or bytes of an image file.
            options: See `Options`.

        Returns:
            The faces of the image with their emotions.

        Raises:
            ApiError: The service answered with an error.
            ConnectionFailedError: No response arrived.
            OSError: The file cannot be read.
            TypeError: `image` is neither a path nor bytes, or an option is unknown.
        """
        parameters = query(options)
        response = self._send("POST", "/predict", params=parameters, content=messages.image_bytes(image))
        return messages.read_prediction(response)

    def predict_batch(
        self,
        images: Sequence[Image],
        **options: Unpack[Options],
    ) -> list[Prediction | ApiError]:
        """Detect and classify the faces of several images in one request.

        Args:
            images: Paths or bytes of image files, at most as many as `max_images` in `info()`.
            options: See `Options`; they apply to every image.

        Returns:
            For each image, in input order, its prediction or the error that the service reports for it.

        Raises:
            ApiError: The service refused the whole request. For the other exceptions see `predict`.
        """
        parameters = query(options)
        response = self._send("POST", "/predict/batch", params=parameters, files=messages.form_files(images))
        return messages.read_batch(response)

    def stream(
        self, frames: Iterable[Image], *, smoothing: float = 0.0, in_flight: int = 1, **options: Unpack[Options]
    ) -> Iterator[FramePrediction | ApiError]:
        """Send the frames of a video over a WebSocket, and yield the answer to each of them, in order.

        A face has the same `track` in all answers while it is visible. Needs `pip install "fer-client[stream]"`.

        Args:
            frames: Paths or bytes of image files; a generator for a camera.
            smoothing: Share of the previous scores of a face that remains after 0.1 s, 0 to 1.
            in_flight: 2 sends the next frame before the answer to the last one, which saves the time on the network.
                1 has the smaller delay for a camera.
            options: See `Options`; they apply to every frame.

        Yields:
            The faces of a frame, or the error that the service reports for it.

        Raises:
            ApiError: The service refused or ended the stream.
            ConnectionFailedError: The connection failed, broke or timed out. A stream is not repeated.
            ValueError: `in_flight` is neither 1 nor 2.
        """
        streaming.check_in_flight(in_flight)
        arguments = streaming.connect_arguments(self._headers, self._timeout_s)
        url = streaming.stream_url(self._url, smoothing, options)
        yield from streaming.answers(url, arguments, self._timeout_s, frames, in_flight)

    def predict_video(
        self, path: str | os.PathLike[str], *, fps: float = 5.0, smoothing: float = 0.0, **options: Unpack[Options]
    ) -> Iterator[VideoAnswer]:
        """Send samples of a video file, and yield the answer to each of them. The file itself is not sent.

        Needs `pip install "fer-client[video]"`. The memory in use does not depend on the length of the video.

        Args:
            path: Video file.
            fps: Samples per second of the video.
            smoothing: See `stream`. The service counts the time of arrival, not the time in the video.
            options: See `Options`; they apply to every frame.

        Yields:
            The time of a frame in the video with its faces, or with the error that the service reports for it.

        Raises:
            ValueError: `fps` is not positive, or the file has no video. For the other exceptions see `stream`.
            OSError: The file cannot be read.
        """
        samples = Samples(path, fps)
        for result in self.stream(samples, smoothing=smoothing, in_flight=streaming.MAX_IN_FLIGHT, **options):
            yield VideoAnswer(samples.times_s.popleft(), result)

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
