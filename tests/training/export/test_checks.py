"""Tolerances of the checks before an export."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from training.errors import TrainingError
from training.export.checks import check_accuracy_loss, check_parity


class Trained:
    def predict(self, images, **options):
        return np.full((len(images), 7), 500, np.float32)


class Session:
    def __init__(self, logit: float) -> None:
        self.logit = logit

    def run(self, names, inputs):
        return [np.full((len(inputs["image"]), 7), self.logit, np.float32)]


@pytest.mark.parametrize(("difference", "accepted"), [(0.003, True), (0.009, False)])
def test_parity_tolerance_grows_with_the_logit(difference, accepted):
    expected = (
        nullcontext() if accepted else pytest.raises(TrainingError, match=r"differ at batch 1: 500\.009 and 500 ")
    )
    with expected:
        check_parity(Session(500 + difference), Trained(), np.zeros((64, 48, 48, 1), np.uint8))


def test_accuracy_may_fall_by_three_tenths_of_a_point():
    check_accuracy_loss(0.7, 0.6971, "int8")
    with pytest.raises(TrainingError, match=r"int8 lowers the accuracy on PublicTest from 70\.00% to 69\.60%"):
        check_accuracy_loss(0.7, 0.696, "int8")
