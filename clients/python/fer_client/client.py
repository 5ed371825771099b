"""`FerClient` and `AsyncFerClient`: the same calls, with a timeout always and retries where they are safe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from fer_client.errors import ApiError, ConnectionFailedError
from fer_client.models import Prediction
from fer_client.retries import RETRIED_STATUSES, RetryPolicy

Image = bytes | Path

DEFAULT_TIMEOUT_S = 15.0  # three times the service's own deadline, for slow lines
_OK = 200


class FerClient:
    """Asks a fer-serve instance. Thread-safe; keep one for many requests, and close it.

    Args:
        url: Where it serves, such as `http://127.0.0.1:8000`.
        api_key: Where it asks for one.
        timeout_s: Of connecting, and of each wait for bytes, of one attempt.
        retries: When to ask again: on 502, 503, 504 and on connections that fail.
        transport: Of httpx2; for tests.
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
            base_url=url, headers=_headers(api_key), timeout=timeout_s, transport=transport, follow_redirects=False
        )

    def __enter__(self) -> FerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def predict(
        self,
        image: Image,
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size_px: int | None = None,
        require_face: bool = False,
    ) -> Prediction:
        """Finds and classifies the faces of one image.

        Args:
            image: The image file's bytes, or where it lies.
            detect: False where the image is already one cropped face.
            max_faces: Keep the largest N; None leaves the service's own limit.
            min_face_size_px: Drop smaller faces.
            require_face: Make an image without a face an `ApiError` of code `no_face_detected`.

        Raises:
            ApiError: The service refused, or failed after all retries.
            ConnectionFailedError: No answer came, after all retries.
            OSError: The file cannot be read.
        """
        params = _params(detect, max_faces, min_face_size_px, require_face)
        answer = self._send("POST", "/predict", params=params, content=_bytes(image))
        return _read(answer)

    def predict_many(
        self,
        images: Sequence[Image],
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size_px: int | None = None,
        require_face: bool = False,
    ) -> list[Prediction | ApiError]:
        """One request for several images: a prediction or an error for each, in order.

        Args:
            images: As `predict`; at most `max_images` of `info()`.
            detect: As `predict`.
            max_faces: As `predict`, of each image.
            min_face_size_px: As `predict`.
            require_face: As `predict`; the error is in the place of the image.

        Raises:
            ApiError: The request as a whole was refused; otherwise as `predict`.
        """
        params = _params(detect, max_faces, min_face_size_px, require_face)
        answer = self._send("POST", "/predict/batch", params=params, files=_files(images))
        return _read_many(answer)

    def info(self) -> dict[str, Any]:
        """The model, its measured quality and the limits, as `GET /info` says."""
        return _read_info(self._send("GET", "/info"))

    def is_ready(self) -> bool:
        """Whether the instance wants traffic. Asks once; an instance that does not answer is not ready."""
        try:
            return bool(self._http.get("/readyz").status_code == _OK)
        except httpx2.TransportError:
            return False

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            retry_after = None
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx2.TransportError as error:
                if is_last:
                    raise _no_answer(error, attempt) from error
            else:
                if is_last or answer.status_code not in RETRIED_STATUSES:
                    return _accepted(answer)
                retry_after = answer.headers.get("retry-after")
            time.sleep(self._retries.wait_s(attempt, retry_after))
        raise AssertionError("the last attempt returns or raises")


class AsyncFerClient:
    """`FerClient` for asyncio: the same calls, awaited.

    Args:
        url: As `FerClient`.
        api_key: As `FerClient`.
        timeout_s: As `FerClient`.
        retries: As `FerClient`.
        transport: Of httpx2; for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._http = httpx2.AsyncClient(
            base_url=url, headers=_headers(api_key), timeout=timeout_s, transport=transport, follow_redirects=False
        )

    async def __aenter__(self) -> AsyncFerClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def predict(
        self,
        image: Image,
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size_px: int | None = None,
        require_face: bool = False,
    ) -> Prediction:
        """As `FerClient.predict`."""
        params = _params(detect, max_faces, min_face_size_px, require_face)
        content = await asyncio.to_thread(_bytes, image)
        return _read(await self._send("POST", "/predict", params=params, content=content))

    async def predict_many(
        self,
        images: Sequence[Image],
        *,
        detect: bool = True,
        max_faces: int | None = None,
        min_face_size_px: int | None = None,
        require_face: bool = False,
    ) -> list[Prediction | ApiError]:
        """As `FerClient.predict_many`."""
        params = _params(detect, max_faces, min_face_size_px, require_face)
        files = await asyncio.to_thread(_files, images)
        return _read_many(await self._send("POST", "/predict/batch", params=params, files=files))

    async def info(self) -> dict[str, Any]:
        """As `FerClient.info`."""
        return _read_info(await self._send("GET", "/info"))

    async def is_ready(self) -> bool:
        """As `FerClient.is_ready`."""
        try:
            return bool((await self._http.get("/readyz")).status_code == _OK)
        except httpx2.TransportError:
            return False

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            retry_after = None
            try:
                answer = await self._http.request(method, path, **arguments)
            except httpx2.TransportError as error:
                if is_last:
                    raise _no_answer(error, attempt) from error
            else:
                if is_last or answer.status_code not in RETRIED_STATUSES:
                    return _accepted(answer)
                retry_after = answer.headers.get("retry-after")
            await asyncio.sleep(self._retries.wait_s(attempt, retry_after))
        raise AssertionError("the last attempt returns or raises")


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("api_key must be of printable ASCII characters, as a header can carry them")
    return {} if api_key is None else {"X-API-Key": api_key}


def _params(
    detect: bool, max_faces: int | None, min_face_size_px: int | None, require_face: bool
) -> dict[str, str | int]:
    params: dict[str, str | int] = {}
    if not detect:
        params["detect"] = "false"
    if max_faces is not None:
        params["max_faces"] = max_faces
    if min_face_size_px is not None:
        params["min_face_size"] = min_face_size_px
    if require_face:
        params["require_face"] = "true"
    return params


def _bytes(image: Image) -> bytes:
    if isinstance(image, str):
        raise TypeError(f"expected bytes or a pathlib.Path. Received: a str; Path({image[:50]!r}) names a file")
    return image.read_bytes() if isinstance(image, Path) else image


def _files(images: Sequence[Image]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{index}", _bytes(image))) for index, image in enumerate(images)]


def _accepted(answer: httpx2.Response) -> httpx2.Response:
    if answer.status_code == _OK:
        return answer
    try:
        problem = answer.json()
        raise _api_error(problem)
    except (ValueError, KeyError, TypeError):  # not this service's: a proxy's page, or another server
        request_id = answer.headers.get("x-request-id", "")
        raise ApiError(answer.status_code, "unknown", answer.text[:200], request_id) from None


def _api_error(problem: dict[str, Any]) -> ApiError:
    return ApiError(problem["status"], problem["code"], problem["detail"], problem["request_id"])


def _no_answer(error: httpx2.TransportError, attempts: int) -> ConnectionFailedError:
    return ConnectionFailedError(f"no answer in {attempts} attempts: {type(error).__name__}: {error}")


def _read(answer: httpx2.Response) -> Prediction:
    try:
        return Prediction.from_json(answer.json())
    except (ValueError, KeyError, TypeError):
        raise _foreign(answer) from None


def _read_info(answer: httpx2.Response) -> dict[str, Any]:
    try:
        document: dict[str, Any] = answer.json()
    except ValueError:
        raise _foreign(answer) from None
    return document


def _read_many(answer: httpx2.Response) -> list[Prediction | ApiError]:
    try:
        return [
            _api_error(entry["error"]) if "error" in entry else Prediction.from_json(entry)
            for entry in answer.json()["results"]
        ]
    except (ValueError, KeyError, TypeError):
        raise _foreign(answer) from None


def _foreign(answer: httpx2.Response) -> ApiError:
    request_id = answer.headers.get("x-request-id", "")
    return ApiError(answer.status_code, "unknown", "the answer is not one of fer-serve's", request_id)
