"""A typed Python client of fer-serve, sync and async. Needs httpx2 only, and nothing of the service.

from fer_client import FerClient

with FerClient("http://127.0.0.1:8000") as client:
print(client.predict(Path("photo.jpg")).emotion)
"""

from fer_client.client import AsyncFerClient, FerClient
from fer_client.errors import ApiError, ConnectionFailedError, FerClientError
from fer_client.models import Box, Face, ModelName, Prediction, Timings
from fer_client.retries import RetryPolicy

__all__ = [
    "ApiError",
    "AsyncFerClient",
    "Box",
    "ConnectionFailedError",
    "Face",
    "FerClient",
    "FerClientError",
    "ModelName",
    "Prediction",
    "RetryPolicy",
    "Timings",
]
