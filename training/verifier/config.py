"""The recipe of the face verifier."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from training.config import load_section
from training.config.sections import Section


class DistortionConfig(Section):
    """Random changes to a crop. Probabilities are 0 to 1."""

    rotation_degrees: float = Field(default=12.0, ge=0, description="standard deviation; at most 2.5 times as much")
    zoom: tuple[float, float] = Field(default=(0.78, 1.25), description="smallest and largest factor")
    shift: float = Field(default=0.1, ge=0, lt=0.5, description="largest shift, as a share of the side")
    background_probability: float = Field(default=0.5, ge=0, le=1, description="other crop around a shrunk crop")
    dark_probability: float = Field(default=0.3, ge=0, le=1)
    min_gain: float = Field(default=0.05, gt=0, lt=1, description="of dark crops")
    tone_probability: float = Field(default=0.6, ge=0, le=1, description="gamma, contrast and light from one side")
    cover_probability: float = Field(default=0.25, ge=0, le=1, description="a rectangle covers a part")
    cover_max_area: float = Field(default=0.3, gt=0, lt=1)
    small_probability: float = Field(default=0.3, ge=0, le=1, description="enlarged from a smaller crop")
    min_size_px: int = Field(default=16, ge=8, le=48)
    blur_probability: float = Field(default=0.2, ge=0, le=1)
    noise_probability: float = Field(default=0.2, ge=0, le=1)
    jpeg_probability: float = Field(default=0.2, ge=0, le=1)


class VerifierConfig(Section):
    """A complete recipe."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    seed: int = 1
    widths: tuple[int, ...] = Field(default=(16, 32, 48, 64), min_length=4, max_length=4)
    epochs: int = Field(default=12, ge=1)
    steps_per_epoch: int = Field(default=400, ge=1)
    batch_size: int = Field(default=128, ge=8)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    label_smoothing: float = Field(default=0.02, ge=0, lt=0.5)
    face_share: float = Field(default=0.5, gt=0, lt=1, description="share of each batch that shows a face")
    part_share: float = Field(default=0.12, ge=0, lt=0.5, description="parts of faces and far too small faces")
    face_prior: float = Field(default=0.1, gt=0, lt=1, description="share of faces among the boxes that are judged")
    threshold: float = Field(default=0.3, gt=0, lt=1, description="smallest probability that a detector returns")
    excluded_pictures: tuple[str, ...] = Field(default=(), description="parts of the paths of pictures to leave out")
    distortions: DistortionConfig = DistortionConfig()


def load_verifier_config(path: Path) -> VerifierConfig:
    """Read and check a recipe.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema. The message names every wrong key.
    """
    return load_section(VerifierConfig, path, "config")
