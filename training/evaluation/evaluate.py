"""Measures a shipped ONNX file through the service's own session, and writes the figures into its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.config import Device
from app.contract.manifest import Latency, Manifest, SplitMetrics, manifest_path
from app.inference.session import EmotionSession
from app.server.cpus import available_cpus
from training.data.annotator_votes import NO_MAJORITY, VotesFile
from training.data.duplicates import twins_of
from training.data.fer2013 import Fer2013, Split, SplitData
from training.evaluation.corruptions import DISTURBANCES, disturbed
from training.evaluation.cost import latency_ms
from training.evaluation.metrics import measure
from training.fit.run_folder import write_text
from training.provenance import describe_environment

# PublicTest and PrivateTest together: the folder edition's test/, which most reports quote.
BOTH_TESTS = "PublicTest+PrivateTest"

_BATCH = 256
_TIMED_BATCHES = (1, 32)


@dataclass(frozen=True)
class _Answers:
    """What a model says of one split, and what it should have said."""

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    training_twin: npt.NDArray[np.bool_] | None  # None for Training itself

    def measured(self, temperature: float) -> SplitMetrics:
        return measure(self.logits, self.labels, temperature, self.training_twin)

    def among(self, chosen: npt.NDArray[np.bool_]) -> _Answers:
        twin = None if self.training_twin is None else self.training_twin[chosen]
        return _Answers(self.logits[chosen], self.labels[chosen], twin)


def record(
    model_path: Path,
    dataset: Fer2013,
    splits: Sequence[Split],
    votes: VotesFile | None = None,
    device: Device = "cpu",
    *,
    timed: bool = False,
    disturbances: bool = True,
) -> Manifest:
    """Measures the shipped file on splits, and writes the figures into its manifest; figures of other splits stay.

    PublicTest and PrivateTest are also measured together where both are among the splits.

    Args:
        model_path: The ONNX file.
        dataset: FER2013.
        splits: Test splits, or Training.
        votes: Where given, the model is judged by the crowd's majority labels too.
        device: Where to run.
        timed: Also measure what a face costs on one core.
        disturbances: Measure PrivateTest, where it is among the splits, once more with every disturbance.

    Returns:
        The manifest as written.
    """
    session = EmotionSession(model_path, device, available_cpus())
    session.self_test()
    answers = {split.value: _answers(session, dataset, split) for split in splits}
    manifest = session.manifest
    update: dict[str, Any] = {"metrics": {**manifest.metrics, **_measured(answers, manifest)}}
    if votes is not None:
        by_crowd = {
            split.value: _judged_by(votes.of(dataset[split].names).majority(), answers[split]) for split in splits
        }
        update["crowd_metrics"] = {**manifest.crowd_metrics, **_measured(by_crowd, manifest)}
    if disturbances and Split.PRIVATE_TEST in splits:
        update["robustness"] = _robustness(session, dataset[Split.PRIVATE_TEST], votes)
    if timed:
        times = {batch: round(latency_ms(model_path, batch), 3) for batch in _TIMED_BATCHES}
        update["latency"] = Latency(processor=describe_environment()["hardware"]["processor"], ms_by_batch=times)
    manifest = manifest.model_copy(update=update)
    write_text(manifest_path(model_path), manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _answers(session: EmotionSession, dataset: Fer2013, split: Split) -> _Answers:
    data = dataset[split]
    twin = None if split is Split.TRAINING else twins_of(dataset[Split.TRAINING], data)
    return _Answers(_batched_logits(session, data.images), data.labels, twin)


def _judged_by(majority: npt.NDArray[np.int64], answers: _Answers) -> _Answers:
    return replace(answers, labels=majority).among(majority != NO_MAJORITY)


def _measured(answers: Mapping[str, _Answers], manifest: Manifest) -> dict[str, SplitMetrics]:
    tests = [answers[split] for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST) if split in answers]
    if len(tests) > 1:
        answers = {**answers, BOTH_TESTS: _joined(tests)}
    return {name: row.measured(manifest.contract.temperature) for name, row in answers.items()}


def _joined(tests: Sequence[_Answers]) -> _Answers:
    return _Answers(
        np.concatenate([test.logits for test in tests]),
        np.concatenate([test.labels for test in tests]),
        np.concatenate([test.training_twin for test in tests if test.training_twin is not None]),
    )


def _robustness(session: EmotionSession, private: SplitData, votes: VotesFile | None) -> dict[str, float]:
    """Accuracy by disturbance, against the labels that the model learned."""
    labels = private.labels
    if session.manifest.provenance.learned_labels == "crowd" and votes is not None:
        labels = votes.of(private.names).majority()
    judged = labels != NO_MAJORITY
    accuracies = {}
    for name in DISTURBANCES:
        predicted = _batched_logits(session, disturbed(private.images[judged], name)).argmax(axis=1)
        accuracies[name] = float((predicted == labels[judged]).mean())
    return accuracies


def predict_logits(session: ort.InferenceSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Logits float32 (N, 7) of images uint8 (N, 48, 48, 1), by a bare session of a file that is still being made."""
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    return np.concatenate([session.run(["logits"], {"image": batch})[0] for batch in batches])


def _batched_logits(session: EmotionSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.concatenate([session.logits(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])
