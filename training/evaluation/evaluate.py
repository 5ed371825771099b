"""Measure an exported ONNX file on FER2013 through the service's session, and write metrics into its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from joblib import cpu_count

from app.contract.contrast import with_min_contrast
from app.contract.manifest import Latency, Manifest, PredictionSets, SplitMetrics
from app.contract.scores import probabilities
from app.contract.sidecar import manifest_path
from app.inference.session import EmotionSession
from training.data.annotator_votes import NO_MAJORITY, AnnotatorVotes
from training.data.duplicates import duplicates_across
from training.data.splits import Fer2013, Split, SplitData
from training.evaluation.corruptions import CORRUPTIONS, corrupted
from training.evaluation.cost import latency_ms
from training.evaluation.metrics import measure
from training.evaluation.prediction_sets import calibrate, with_measurement
from training.files import write_text
from training.provenance import describe_environment

# Key of the metrics over both test splits: the folder edition's test/, which most reports quote.
BOTH_TESTS = "PublicTest+PrivateTest"

_BATCH = 256
_TIMED_BATCHES = (1, 32)


@dataclass(frozen=True)
class _Predictions:
    """Logits of one split with the labels to compare them with. `in_training` is None for Training itself."""

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    in_training: npt.NDArray[np.bool_] | None

    def subset(self, chosen: npt.NDArray[np.bool_]) -> _Predictions:
        in_training = None if self.in_training is None else self.in_training[chosen]
        return _Predictions(self.logits[chosen], self.labels[chosen], in_training)


def record(
    model_path: Path,
    dataset: Fer2013,
    splits: Sequence[Split],
    votes: AnnotatorVotes | None = None,
    device: Literal["cpu", "cuda", "auto"] = "cpu",
    *,
    timed: bool = False,
    corruptions: bool = True,
) -> Manifest:
    """Measure an ONNX file on splits and write the metrics into its manifest. Metrics of other splits are kept.

    Arguments, result and errors are those of `measure_file`.
    """
    manifest = measure_file(model_path, dataset, splits, votes, device, timed=timed, corruptions=corruptions)
    write_manifest(model_path, manifest)
    return manifest


def write_manifest(model_path: Path, manifest: Manifest) -> None:
    """Replace the manifest of an ONNX file."""
    write_text(manifest_path(model_path), manifest.model_dump_json(indent=2) + "\n")


def measure_file(
    model_path: Path,
    dataset: Fer2013,
    splits: Sequence[Split],
    votes: AnnotatorVotes | None = None,
    device: Literal["cpu", "cuda", "auto"] = "cpu",
    *,
    timed: bool = False,
    corruptions: bool = True,
) -> Manifest:
    """Measure an ONNX file on splits of FER2013. Writes nothing.

    If both test splits are given, the metrics over both together are added. PublicTest also calibrates the prediction
    sets, against the labels that the model learned.

    Args:
        model_path: ONNX file with its manifest.
        dataset: FER2013.
        splits: Splits to measure.
        votes: Annotator votes. If given, the model is also measured against the majority label of the annotators.
        device: Execution device.
        timed: Also measure the latency on one core.
        corruptions: Also measure PrivateTest, if it is among the splits, under every corruption.

    Returns:
        The manifest with the metrics. Metrics of other splits are those of the file.

    Raises:
        ManifestError: The file does not match its manifest.
        SelfTestError: The file does not reproduce its golden vectors.
    """
    session = EmotionSession(model_path, device, cpu_count())
    session.self_test()
    manifest, temperature = session.manifest, session.manifest.contract.temperature
    predictions = {split.value: _predict(session, dataset, split) for split in splits}
    learned = predictions
    update: dict[str, Any] = {"metrics": {**manifest.metrics, **_metrics(predictions, temperature)}}
    if votes is not None:
        against_majority = {
            split.value: _with_labels(predictions[split], votes.of(dataset[split].names).majority()) for split in splits
        }
        update["annotator_metrics"] = {**manifest.annotator_metrics, **_metrics(against_majority, temperature)}
        if manifest.provenance.learned_labels == "annotators":
            learned = against_majority
    update["prediction_sets"] = _prediction_sets(manifest, learned)
    if corruptions and Split.PRIVATE_TEST in splits:
        update["robustness"] = _robustness(session, dataset[Split.PRIVATE_TEST], votes)
    if timed:
        update["latency"] = measure_latency(model_path)
    return manifest.model_copy(update=update)


def _prediction_sets(manifest: Manifest, predictions: Mapping[str, _Predictions]) -> dict[str, PredictionSets]:
    """Calibrate the prediction sets on PublicTest, and measure them on both test splits, as far as they are given."""
    sets = manifest.prediction_sets
    for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST):
        if split not in predictions:
            continue
        logits, labels = predictions[split].logits, predictions[split].labels
        scores = probabilities(logits, manifest.contract.temperature)
        if split is Split.PUBLIC_TEST:
            sets = calibrate(scores, labels)
        sets = with_measurement(sets, split.value, scores, labels)
    return sets


def measure_latency(model_path: Path) -> Latency:
    """Return the time per face on one core at batches of 1 and 32."""
    times = {batch: round(latency_ms(model_path, batch), 3) for batch in _TIMED_BATCHES}
    return Latency(processor=describe_environment()["hardware"]["processor"], ms_by_batch=times)


def predict_logits(session: ort.InferenceSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return logits float32 (N, 7) of images uint8 (N, 48, 48, 1), from a plain session of a file without manifest."""
    return np.concatenate([session.run(["logits"], {"image": batch})[0] for batch in in_batches(images)])


def session_logits(session: EmotionSession, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return logits float32 (N, 7) of images uint8 (N, 48, 48, 1), in batches of bounded size."""
    return np.concatenate([session.logits(batch) for batch in in_batches(images)])


def in_batches(images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """Return the images as the service would pass them to the network, in batches."""
    return [with_min_contrast(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]


def _predict(session: EmotionSession, dataset: Fer2013, split: Split) -> _Predictions:
    data = dataset[split]
    in_training = None if split is Split.TRAINING else duplicates_across(dataset[Split.TRAINING], data)
    return _Predictions(session_logits(session, data.images), data.labels, in_training)


def _with_labels(predictions: _Predictions, majority: npt.NDArray[np.int64]) -> _Predictions:
    """Return the predictions with majority labels, for the images that have one."""
    return replace(predictions, labels=majority).subset(majority != NO_MAJORITY)


def _metrics(predictions: Mapping[str, _Predictions], temperature: float) -> dict[str, SplitMetrics]:
    tests = [predictions[split] for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST) if split in predictions]
    if len(tests) > 1:
        predictions = {**predictions, BOTH_TESTS: _concatenated(tests)}
    return {
        name: measure(split.logits, split.labels, temperature, split.in_training) for name, split in predictions.items()
    }


def _concatenated(tests: Sequence[_Predictions]) -> _Predictions:
    return _Predictions(
        np.concatenate([test.logits for test in tests]),
        np.concatenate([test.labels for test in tests]),
        np.concatenate([test.in_training for test in tests if test.in_training is not None]),
    )


def _robustness(session: EmotionSession, private: SplitData, votes: AnnotatorVotes | None) -> dict[str, float]:
    """Return the accuracy under each corruption, against the label set that the model was trained on."""
    labels = private.labels
    if session.manifest.provenance.learned_labels == "annotators" and votes is not None:
        labels = votes.of(private.names).majority()
    labelled = labels != NO_MAJORITY
    accuracies = {}
    for name in CORRUPTIONS:
        predicted = session_logits(session, corrupted(private.images[labelled], name)).argmax(axis=1)
        accuracies[name] = float((predicted == labels[labelled]).mean())
    return accuracies
