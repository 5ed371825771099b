"""The logits of a crop are bit-identical in every batch and for every number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.session import EmotionSession
from tests.support.paths import REPOSITORY

CROPS = np.random.default_rng(0).integers(0, 256, size=(48, 48, 48, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def single_logits() -> np.ndarray:
    session = EmotionSession(REPOSITORY / "models" / "fer_vgg.onnx", "cpu", threads=1)
    return np.concatenate([session.logits(crop[np.newaxis]) for crop in CROPS])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_logits_are_bit_identical_in_every_batch(single_logits, threads):
    session = EmotionSession(REPOSITORY / "models" / "fer_vgg.onnx", "cpu", threads)
    for size in (1, 2, 3, 5, 16, 17, 48):
        batched = np.concatenate([session.logits(CROPS[at : at + size]) for at in range(0, len(CROPS), size)])
        assert np.array_equal(batched, single_logits), f"batches of {size}"
    reversed_order = session.logits(CROPS[::-1].copy())[::-1]
    assert np.array_equal(reversed_order, single_logits)
