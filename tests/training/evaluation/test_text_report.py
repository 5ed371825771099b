"""The text report contains the metrics."""

from __future__ import annotations

import numpy as np

from training.evaluation.metrics import measure
from training.evaluation.text_report import classification_table


def test_classification_table_has_a_row_per_label_with_images_and_the_averages():
    labels = np.array([0, 1, 1, 3], dtype=np.int64)
    table = classification_table(measure(np.eye(7, dtype=np.float32)[[0, 1, 0, 3]], labels, 1.0)).splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["angry", "disgust", "happy"]
    assert table[1].split() == ["angry", "0.500", "1.000", "0.667", "1", "0.207", "to", "1.000"]
    assert table[2].split() == ["disgust", "1.000", "0.500", "0.667", "2", "0.095", "to", "0.905"]
    assert table[4].split()[-1] == "4"
    assert table[5].startswith("accuracy 75.00% (95 % interval 30.06% to 95.44%)")
