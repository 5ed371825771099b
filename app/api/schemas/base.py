"""What the documents of the native API share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app import domain
from app.contract.manifest import Manifest

Probability = Annotated[float, Field(ge=0, le=1)]


class Document(BaseModel):
    """Base class of the documents."""

    model_config = ConfigDict(frozen=True)


class ModelName(Document):
    """Name and version of the model that answered."""

    name: str
    version: str

    @classmethod
    def of(cls, model: domain.ModelName) -> ModelName:
        """Render the name of a model."""
        return cls(name=model.name, version=model.version)

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> ModelName:
        """Render the name in the manifest of a model."""
        return cls(name=manifest.contract.name, version=manifest.contract.version)
