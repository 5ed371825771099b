"""Golden vectors: crops with their logits, which the service computes again when it starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.contract.labels import LABELS
from app.contract.scores import probabilities
from training.data.splits import SplitData
from training.evaluation.evaluate import predict_logits

# Faces per mean face, and groups of faces that are tried with each number.
_FACES = (32, 24, 16, 12, 8)
_GROUPS = 12


def write_golden(path: Path, session: ort.InferenceSession, training: SplitData) -> None:
    """Write one mean face per label and three synthetic crops, with their logits.

    Mean faces are used so that no image of a person is published. A label with fewer than eight images has none.

    Args:
        path: NPZ file to write: `crops` uint8 (N, 48, 48, 1) and `logits` float32 (N, 7), N at most 10.
        session: Session of the exported graph.
        training: Training split, the source of the faces.
    """
    crops = _mean_faces(session, training)
    shape = training.images.shape[1:]
    crops += [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    crops.append(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    stacked = np.stack(crops)
    (logits,) = session.run(["logits"], {"image": stacked})
    np.savez_compressed(path, crops=stacked, logits=logits)


def _mean_faces(session: ort.InferenceSession, training: SplitData) -> list[npt.NDArray[np.uint8]]:
    """Return one mean face for each label with enough images.

    It is the first one that the network predicts correctly, or else the first one.
    """
    scores = probabilities(predict_logits(session, training.images), 1.0)
    confidence = scores[np.arange(len(scores)), training.labels]
    faces = []
    for code in range(len(LABELS)):
        members = np.flatnonzero(training.labels == code)
        if len(members) < _FACES[-1]:
            continue
        by_confidence = members[np.argsort(-confidence[members], kind="stable")]
        candidates = np.stack(list(_candidates(training.images[by_confidence])))
        correct = predict_logits(session, candidates).argmax(axis=1) == code
        faces.append(candidates[correct.argmax()])
    return faces


def _candidates(faces: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield mean faces of successive groups: first of large groups, then of smaller ones.

    Args:
        faces: uint8 (N, 48, 48, 1), sorted by falling confidence.
    """
    for count in _FACES:
        groups = [faces[start : start + count] for start in range(0, _GROUPS * count, count)]
        for group in groups:
            if len(group) == count or (group is groups[0] and len(group) >= _FACES[-1]):
                yield group.mean(axis=0).round().astype(np.uint8)
