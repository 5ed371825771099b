"""Mixing of a batch: each image is combined with another image of the batch, and so are their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.config import AugmentConfig


@dataclass(frozen=True)
class Mix:
    """How each row of a batch is combined with another row.

    Attributes:
        partners: int64 (N,), index of the other row.
        shares: float32 (N,), share of the row itself in image and target.
        boxes: int64 (N, 4), top, bottom, left and right of the pixels that come from the partner (CutMix); None if all
            pixels are blended (mixup).

    Reference:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017; Yun et al., "CutMix: Regularization Strategy to
        Train Strong Classifiers with Localizable Features", 2019.
    """

    partners: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.int64] | None = None

    @classmethod
    def draw(cls, count: int, alpha: float, generator: np.random.Generator) -> Mix:
        """Draw random partners for mixup, and shares of at least 0.5 from a beta distribution."""
        shares = generator.beta(alpha, alpha, size=count)
        return cls(generator.permutation(count), np.maximum(shares, 1 - shares).astype(np.float32))

    @classmethod
    def draw_boxes(cls, count: int, alpha: float, size_px: int, generator: np.random.Generator) -> Mix:
        """Draw random partners for CutMix, and boxes whose share of the area has a beta distribution.

        Args:
            count: Number of images.
            alpha: Of the beta distribution.
            size_px: Side of the images.
            generator: Source of all randomness.
        """
        sides = np.sqrt(1 - generator.beta(alpha, alpha, size=count)) * size_px
        centres = generator.integers(0, size_px, size=(count, 2))
        # The part of a box outside the image is lost, so the share is computed from the remaining pixels.
        low = np.clip(np.rint(centres - sides[:, np.newaxis] / 2), 0, size_px).astype(np.int64)
        high = np.clip(np.rint(centres + sides[:, np.newaxis] / 2), 0, size_px).astype(np.int64)
        shares = (1 - np.prod(high - low, axis=1) / size_px**2).astype(np.float32)
        boxes = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
        return cls(generator.permutation(count), shares, boxes)

    def blend(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Blend the rows of an array (N, ...) by their shares; integer types are rounded."""
        shares = self.shares.reshape(-1, *[1] * (rows.ndim - 1))
        blended = shares * rows + (1 - shares) * rows[self.partners]
        rounded = blended.round() if np.issubdtype(rows.dtype, np.integer) else blended
        result: npt.NDArray[Any] = rounded.astype(rows.dtype)
        return result

    def mix_images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Mix images uint8 (N, H, W, 1): blend all pixels, or paste the boxes of the partners."""
        if self.boxes is None:
            return self.blend(images)
        mixed = images.copy()
        for image, partner, (top, bottom, left, right) in zip(mixed, images[self.partners], self.boxes, strict=True):
            image[top:bottom, left:right] = partner[top:bottom, left:right]
        return mixed


def draw_mix(count: int, config: AugmentConfig, size_px: int, generator: np.random.Generator) -> Mix | None:
    """Draw how a batch is mixed; None if the config mixes nothing.

    Args:
        count: Number of images.
        config: With mixup and CutMix, `cutmix_share` of the batches have CutMix.
        size_px: Side of the images.
        generator: Source of all randomness.
    """
    if not config.mixes:
        return None
    # A choice is drawn only if both are set, so that older recipes keep their random numbers.
    with_boxes = bool(config.cutmix_alpha)
    if config.mixup_alpha and config.cutmix_alpha:
        with_boxes = bool(generator.random() < config.cutmix_share)
    if with_boxes:
        return Mix.draw_boxes(count, config.cutmix_alpha, size_px, generator)
    return Mix.draw(count, config.mixup_alpha, generator)
