"""What the routes may reach: the running service's parts, wired by `app.main`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from app.config import Settings
from app.contract.manifest import Manifest
from app.engine.pipeline import Pipeline
from app.engine.readiness import Readiness
from app.errors import ErrorCode, FerError
from app.observability.metrics import Metrics
from app.observability.tracing import NoTracing, Tracing


@dataclass(frozen=True, slots=True)
class Engine:
    """A loaded model at work."""

    manifest: Manifest
    provider: str
    pipeline: Pipeline


async def _not_serving() -> Engine:
    raise FerError(ErrorCode.NOT_READY, "the instance is not ready: it has not started")


@dataclass(slots=True)
class Service:
    """One instance. `engine` is None until the model is loaded.

    Attributes:
        settings: As the operator chose.
        metrics: All collectors.
        readiness: Whether traffic is wanted.
        tracing: Records requests.
        engine: The loaded model.
        reload: Loads the model files anew; see `app.engine.lifecycle.Rollout.replace`.
        admitted: Requests and frames that hold a permit now.
        streams: Streams that are open now.
        keyless_streams: Streams that wait for the message that brings their key.
    """

    settings: Settings
    metrics: Metrics
    readiness: Readiness
    tracing: Tracing = field(default_factory=NoTracing)
    engine: Engine | None = field(default=None)
    reload: Callable[[], Awaitable[Engine]] = field(default=_not_serving)
    admitted: int = field(default=0)
    streams: int = field(default=0)
    keyless_streams: int = field(default=0)

    def require_engine(self) -> Engine:
        """The loaded model.

        Raises:
            FerError: It is not loaded; `not_ready`.
        """
        if self.engine is None:
            raise FerError(ErrorCode.NOT_READY, f"the instance is not ready: {self.readiness.reason}")
        return self.engine


def service_of(connection: HTTPConnection) -> Service:
    """The service that answers a request."""
    service: Service = connection.app.state.service
    return service
