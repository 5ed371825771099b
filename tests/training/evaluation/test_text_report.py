"""The text report contains the metrics."""

from __future__ import annotations

import numpy as np

from app.contract.labels import LABELS
from training.evaluation.metrics import measure
from training.evaluation.text_report import classification_table


def test_classification_table_has_a_row_per_label_and_the_averages():
    labels = np.array([0, 1, 1, 3], dtype=np.int64)
    table = classification_table(measure(np.eye(7, dtype=np.float32)[[0, 1, 0, 3]], labels, 1.0)).splitlines()
    assert [line.split()[0] for line in table[1:8]] == list(LABELS)
    assert table[1].split() == ["angry", "0.500", "1.000", "0.667", "1"]
    assert table[2].split() == ["disgust", "1.000", "0.500", "0.667", "2"]
    assert table[8].split()[-1] == "4"
    assert table[9].startswith("accuracy 75.00% (95 % interval 30.06% to 95.44%)")
