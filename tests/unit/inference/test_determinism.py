"""The same crop gets the same bits, whatever batch it travels in and however many threads run the model."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.session import EmotionSession
from tests.support.paths import REPOSITORY

CROPS = np.random.default_rng(0).integers(0, 256, size=(48, 48, 48, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def alone() -> np.ndarray:
    session = EmotionSession(REPOSITORY / "models" / "fer_vgg.onnx", "cpu", threads=1)
    return np.concatenate([session.logits(crop[np.newaxis]) for crop in CROPS])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_logits_are_the_same_bits_in_every_batch(alone, threads):
    session = EmotionSession(REPOSITORY / "models" / "fer_vgg.onnx", "cpu", threads)
    for size in (1, 2, 3, 5, 16, 17, 48):
        together = np.concatenate([session.logits(CROPS[at : at + size]) for at in range(0, len(CROPS), size)])
        assert np.array_equal(together, alone), f"batches of {size}"
    backwards = session.logits(CROPS[::-1].copy())[::-1]
    assert np.array_equal(backwards, alone)  # nor does it matter which neighbours come first
