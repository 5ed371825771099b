"""Number of operations of a network."""

from __future__ import annotations

import keras
import pytest

from training.architectures import Form, build
from training.config import ModelConfig
from training.evaluation.cost import mflops


def test_mflops_count_a_multiply_add_as_two_operations():
    keras.config.set_dtype_policy("float32")
    config = ModelConfig(architecture="vgg", widths=(4, 8), convolutions_per_stage=1)
    multiply_adds = 48 * 48 * 9 * 1 * 4 + 24 * 24 * 9 * 4 * 8 + 8 * 7
    assert mflops(build(config, Form.SERVED)) == pytest.approx(2 * multiply_adds / 1e6)
