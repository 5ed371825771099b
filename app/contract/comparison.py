"""Comparison of two models on the same images, as the manifest stores it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PairedComparison(BaseModel):
    """Comparison with another model on the same images, by McNemar's test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="name and version")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    accuracy: float = Field(description="of the other model, 0 to 1")
    only_other: int = Field(description="images that only the other model classifies correctly")
    only_this: int = Field(description="images that only this model classifies correctly")
    p_value: float
