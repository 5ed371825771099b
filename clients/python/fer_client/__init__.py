"""Typed Python client for fer-serve, synchronous and asynchronous.

Example::

    from fer_client import FerClient

    with FerClient("http://127.0.0.1:8000") as client:
        print(client.predict("photo.jpg").emotion)
"""

from fer_client.async_client import AsyncFerClient
from fer_client.client import FerClient
from fer_client.errors import ApiError, ConnectionFailedError, FerClientError
from fer_client.models import Box, Face, FramePrediction, ImageSize, Landmarks, Model, Point, Prediction, Timings
from fer_client.options import Options
from fer_client.retries import RetryPolicy
from fer_client.video import VideoAnswer

__all__ = [
    "ApiError",
    "AsyncFerClient",
    "Box",
    "ConnectionFailedError",
    "Face",
    "FerClient",
    "FerClientError",
    "FramePrediction",
    "ImageSize",
    "Landmarks",
    "Model",
    "Options",
    "Point",
    "Prediction",
    "RetryPolicy",
    "Timings",
    "VideoAnswer",
]
