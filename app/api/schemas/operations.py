"""The responses for operators: health, readiness, model and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from app.api.schemas.base import Document, ModelName
from app.config import DetectorName
from app.contract.manifest import Manifest, SplitMetrics


class Health(Document):
    """Liveness."""

    status: Literal["ok"]


class Ready(Document):
    """Readiness."""

    status: Literal["ready"]


class Reloaded(Document):
    """The model that serves after a reload."""

    model: ModelName
    sha256: str
    replaced: bool = Field(description="false: the files are the files of the model that served before")
    request_id: str


class Limits(Document):
    """The limits in force."""

    max_body_bytes: int
    max_pixels: int
    max_images: int
    max_batch: int
    max_queue: int
    deadline_ms: int


class Info(Document):
    """The model that serves, and the limits."""

    name: str
    version: str
    sha256: str
    labels: list[str]
    preprocess_id: str
    temperature: float
    provider: str = Field(description="the execution provider in use")
    detector: DetectorName = Field(description="the face detector in use")
    commit: str = Field(description="commit of the training code")
    metrics: Mapping[str, SplitMetrics] = Field(description="measured on this model file, by split")
    coverages: list[float] = Field(description="values of the parameter `coverage` that this model supports")
    limits: Limits
    source_url: str | None = Field(description="address of the source code; null if the operator has not set it")

    @classmethod
    def of(
        cls, manifest: Manifest, provider: str, detector: DetectorName, limits: Limits, source_url: str | None
    ) -> Info:
        """Render the manifest of a model.

        Args:
            manifest: The manifest.
            provider: The execution provider in use.
            detector: The face detector in use.
            limits: The limits in force.
            source_url: Address of the source code.
        """
        contract = manifest.contract
        return cls(
            name=contract.name,
            version=contract.version,
            sha256=manifest.sha256,
            labels=list(contract.labels),
            preprocess_id=contract.preprocess_id,
            temperature=contract.temperature,
            provider=provider,
            detector=detector,
            commit=manifest.provenance.commit,
            metrics=manifest.metrics,
            coverages=sorted(map(float, manifest.prediction_sets)),
            limits=limits,
            source_url=source_url,
        )
