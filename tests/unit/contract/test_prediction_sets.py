"""Membership of prediction sets."""

from __future__ import annotations

from app.contract.labels import LABELS
from app.contract.prediction_sets import prediction_set

THRESHOLDS = dict.fromkeys(LABELS, 0.2) | {"fear": 0.05}


def scores(**values: float) -> dict[str, float]:
    return dict.fromkeys(LABELS, 0.0) | values


def test_prediction_set_has_the_labels_that_reach_their_threshold_most_probable_first():
    assert prediction_set(scores(happy=0.2, sad=0.65, fear=0.06, angry=0.09), THRESHOLDS) == ("sad", "happy", "fear")


def test_prediction_set_always_has_the_most_probable_label():
    assert prediction_set(scores(happy=0.19, sad=0.18), THRESHOLDS) == ("happy",)
