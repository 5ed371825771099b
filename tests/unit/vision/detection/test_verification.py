"""Second-stage verification."""

from __future__ import annotations

from app.vision.detection import FaceDetector, cascades, verification


def test_face_above_the_certain_weight_skips_the_second_stage(portrait, monkeypatch):
    (face,) = FaceDetector().detect(portrait)
    monkeypatch.setattr(verification, "_passes_second_stage", lambda *_: False)
    monkeypatch.setattr(verification, "_CERTAIN_WEIGHT", face.weight)
    assert FaceDetector().detect(portrait) == [face]


def test_face_below_the_certain_weight_needs_the_second_cascade(portrait, monkeypatch):
    (face,) = FaceDetector().detect(portrait)
    monkeypatch.setattr(verification, "_CERTAIN_WEIGHT", face.weight + 1)
    assert FaceDetector().detect(portrait) == [face]
    monkeypatch.setattr(cascades, "SECOND_STAGE_CASCADE", "haarcascade_eye.xml")  # finds two eyes and no face
    assert FaceDetector().detect(portrait) == []
