"""Request arguments and response parsing, shared by the synchronous and the asynchronous client."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from fer_client.errors import ApiError, ConnectionFailedError
from fer_client.models import Prediction

Image = bytes | str | os.PathLike[str]

DEFAULT_TIMEOUT_S = 15.0  # three times the service's default deadline, to allow for slow networks
OK = 200


def check_url(url: str) -> str:
    """Return the base URL of the service unchanged.

    Raises:
        ValueError: The URL has no scheme, or another one.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url must begin with http:// or https://. Received: {url!r}")
    return url


def headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of every request.

    Raises:
        ValueError: The key has characters that an HTTP header cannot carry.
    """
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("api_key must consist of printable ASCII characters")
    return {} if api_key is None else {"X-API-Key": api_key}


def image_bytes(image: Image) -> bytes:
    """Return the bytes of an image file, read from disk if the argument is a path.

    Raises:
        OSError: The file cannot be read.
        TypeError: The argument is neither bytes nor a path.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    raise TypeError(f"image must be a path or the bytes of an image file. Received: {type(image).__name__}")


def form_files(images: Sequence[Image]) -> list[tuple[str, tuple[str, bytes]]]:
    """Return the form parts of a batch request, in the order of the images.

    Raises:
        OSError: A file cannot be read.
        TypeError: The argument is one image, or an entry is neither bytes nor a path.
    """
    if isinstance(images, bytes | str | os.PathLike):
        raise TypeError(f"images must be a list of paths or bytes. Received: {type(images).__name__}")
    return [("file", (f"{index}", image_bytes(image))) for index, image in enumerate(images)]


def check_status(response: httpx2.Response) -> httpx2.Response:
    """Return the response unchanged if its status is 200.

    Raises:
        ApiError: The status is not 200.
    """
    if response.status_code == OK:
        return response
    try:
        error = api_error(response.json())
    except (ValueError, KeyError, TypeError):  # not a problem document, for example the page of a proxy
        error = ApiError(response.status_code, "unknown", response.text[:200], _request_id(response))
    raise error


def connection_error(error: httpx2.TransportError, attempts: int) -> ConnectionFailedError:
    """Return the exception for a request whose last attempt got no response."""
    count = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return ConnectionFailedError(f"no response after {count}: {type(error).__name__}: {error}")


def read_prediction(response: httpx2.Response) -> Prediction:
    """Return the prediction of `POST /predict`.

    Raises:
        ApiError: The body is not a prediction.
    """
    try:
        return Prediction.from_json(response.json())
    except (ValueError, KeyError, TypeError):
        raise _unexpected_body(response) from None


def read_batch(response: httpx2.Response) -> list[Prediction | ApiError]:
    """Return the results of `POST /predict/batch` in the order of the images.

    Raises:
        ApiError: The body is not a list of results.
    """
    try:
        return [
            api_error(entry["error"]) if "error" in entry else Prediction.from_json(entry)
            for entry in response.json()["results"]
        ]
    except (ValueError, KeyError, TypeError):
        raise _unexpected_body(response) from None


def read_info(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of `GET /info`.

    Raises:
        ApiError: The body is not a JSON object.
    """
    try:
        document = response.json()
    except ValueError:
        raise _unexpected_body(response) from None
    if not isinstance(document, dict):
        raise _unexpected_body(response)
    return document


def api_error(problem: dict[str, Any]) -> ApiError:
    """Return the exception for a problem document.

    Raises:
        KeyError, TypeError: The object is not a problem document.
    """
    return ApiError(problem["status"], problem["code"], problem["detail"], problem["request_id"])


def _unexpected_body(response: httpx2.Response) -> ApiError:
    return ApiError(response.status_code, "unknown", "the response is not from fer-serve", _request_id(response))


def _request_id(response: httpx2.Response) -> str:
    return str(response.headers.get("x-request-id", ""))
