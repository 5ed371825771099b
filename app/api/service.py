"""The parts of the running service that routes use. `app.main` builds them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from app.api.admission import Admission
from app.config import Settings
from app.engine.engine import Engine
from app.engine.readiness import Readiness
from app.observability.metrics import Metrics
from app.observability.tracing import Tracing


@dataclass(slots=True)
class Service:
    """One instance of the service.

    Attributes:
        settings: Settings of the operator.
        metrics: Collectors.
        readiness: State of the instance.
        tracing: Recorder of traces.
        engine: Predicts images.
        admission: Gives the permits.
    """

    settings: Settings
    metrics: Metrics
    readiness: Readiness
    tracing: Tracing
    engine: Engine
    admission: Admission


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a connection belongs to."""
    service: Service = connection.app.state.service
    return service
