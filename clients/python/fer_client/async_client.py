"""Asynchronous client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from fer_client import async_streaming, messages, streaming
from fer_client.errors import ApiError
from fer_client.messages import DEFAULT_TIMEOUT_S, OK, Image
from fer_client.models import FramePrediction, Prediction
from fer_client.options import Options, query
from fer_client.retries import RETRIED_STATUSES, RetryPolicy
from fer_client.video import Samples, VideoAnswer


class AsyncFerClient:
    """Asynchronous client with the methods of `FerClient`. Files are read in a worker thread.

    Args:
        url: Base URL of the service, such as `http://127.0.0.1:8000`.
        api_key: API key, if the service requires one.
        timeout_s: Timeout in seconds of the connection, and of each wait for data, in one attempt.
        retries: Retry policy for the statuses 502, 503 and 504 and for failed connections.
        transport: httpx2 transport, for tests.

    Raises:
        ValueError: See `FerClient`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._headers, self._timeout_s = messages.check_url(url), messages.headers(api_key), timeout_s
        self._retries = retries or RetryPolicy()
        self._http = httpx2.AsyncClient(base_url=url, headers=self._headers, timeout=timeout_s, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self,
        image: Image,
        **options: Unpack[Options],
    ) -> Prediction:
        """Detect and classify the faces of one image. See `FerClient.predict`."""
        parameters = query(options)
        content = await asyncio.to_thread(messages.image_bytes, image)
        return messages.read_prediction(await self._send("POST", "/predict", params=parameters, content=content))

    async def predict_batch(
        self,
        images: Sequence[Image],
        **options: Unpack[Options],
    ) -> list[Prediction | ApiError]:
        """Detect and classify the faces of several images in one request. See `FerClient.predict_batch`."""
        parameters = query(options)
        files = await asyncio.to_thread(messages.form_files, images)
        return messages.read_batch(await self._send("POST", "/predict/batch", params=parameters, files=files))

    async def stream(
        self,
        frames: Iterable[Image] | AsyncIterable[Image],
        *,
        smoothing: float = 0.0,
        in_flight: int = 1,
        **options: Unpack[Options],
    ) -> AsyncIterator[FramePrediction | ApiError]:
        """Send the frames of a video over a WebSocket, and yield the answers. See `FerClient.stream`."""
        streaming.check_in_flight(in_flight)
        arguments = streaming.connect_arguments(self._headers, self._timeout_s)
        url = streaming.stream_url(self._url, smoothing, options)
        async for answer in async_streaming.answers(url, arguments, self._timeout_s, frames, in_flight):
            yield answer

    async def predict_video(
        self, path: str | os.PathLike[str], *, fps: float = 5.0, smoothing: float = 0.0, **options: Unpack[Options]
    ) -> AsyncIterator[VideoAnswer]:
        """Send samples of a video file, and yield the answer to each of them. See `FerClient.predict_video`."""
        samples = await asyncio.to_thread(Samples, path, fps)
        answers = self.stream(samples, smoothing=smoothing, in_flight=streaming.MAX_IN_FLIGHT, **options)
        async for result in answers:
            yield VideoAnswer(samples.times_s.popleft(), result)

    async def info(self) -> dict[str, Any]:
        """Return the model, its metrics and the limits of the service, from `GET /info`."""
        return messages.read_info(await self._send("GET", "/info"))

    async def is_ready(self) -> bool:
        """Return whether the service accepts requests. Sends one request without retries."""
        try:
            return bool((await self._http.get("/readyz")).status_code == OK)
        except httpx2.TransportError:
            return False

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            retry_after = None
            try:
                response = await self._http.request(method, path, **arguments)
            except httpx2.TransportError as error:
                if is_last:
                    raise messages.connection_error(error, attempt) from error
            else:
                if is_last or response.status_code not in RETRIED_STATUSES:
                    return messages.check_status(response)
                retry_after = response.headers.get("retry-after")
            await asyncio.sleep(self._retries.wait_s(attempt, retry_after))
        raise AssertionError("unreachable: the last attempt returns or raises")
