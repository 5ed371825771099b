"""The eight lines of the card, which run a model without the service."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from app.contract.labels import LABELS
from app.contract.manifest import load_manifest
from app.contract.preprocess import resize_to_crop
from app.contract.scores import probabilities
from app.inference.session import EmotionSession
from tests.support.labelled import noise
from tests.support.paths import REPOSITORY
from training.export.card_text import plain_onnxruntime

MODEL = REPOSITORY / "models/fer_vgg.onnx"


@pytest.mark.parametrize("side", [48, 100])
def test_eight_lines_give_the_scores_of_the_service(tmp_path, monkeypatch, capsys, side):
    contract = load_manifest(MODEL).contract
    lines = plain_onnxruntime(contract).partition("```python\n")[2].partition("```")[0]
    assert len(lines.splitlines()) == 8
    noise(0, side, "RGB").save(tmp_path / "face.jpg", quality=95)
    shutil.copy(MODEL, tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})  # noqa: S102
    label, score = capsys.readouterr().out.split()
    crop = resize_to_crop(cv2.imread("face.jpg", cv2.IMREAD_GRAYSCALE))
    expected = probabilities(EmotionSession(MODEL, "cpu", 1).logits(crop[np.newaxis]), contract.temperature)[0]
    assert label == LABELS[expected.argmax()]
    assert float(score) == pytest.approx(expected.max(), abs=1e-4)
