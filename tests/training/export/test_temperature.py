"""Temperature scaling finds the factor by which logits were multiplied."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.scores import probabilities
from training.evaluation.metrics import negative_log_likelihood
from training.export.temperature import fit_temperature


def test_fit_temperature_finds_the_factor_of_the_logits():
    generator = np.random.default_rng(0)
    calibrated = generator.normal(0, 1.5, size=(4000, 7))
    labels = np.array([generator.choice(7, p=row) for row in probabilities(calibrated, 1.0)])
    for factor in (0.5, 1.0, 3.0):
        assert fit_temperature((calibrated * factor).astype(np.float32), labels) == pytest.approx(factor, rel=0.08)
    overconfident = (calibrated * 3).astype(np.float32)
    before = negative_log_likelihood(probabilities(overconfident, 1.0), labels)
    after = negative_log_likelihood(probabilities(overconfident, fit_temperature(overconfident, labels)), labels)
    assert after < before
