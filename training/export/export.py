"""Export of a finished run: ONNX file, manifest and golden vectors.

Batch normalisation is folded into the convolutions. The graph is channels-first inside and takes raw uint8 pixels.
Nothing is written unless the graph computes the logits of the trained Keras model.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from app.contract.labels import LABELS
from app.contract.manifest import (
    CONTRACT_KEY,
    INPUT_SHAPE,
    OUTPUT_SHAPE,
    PROVENANCE_KEY,
    SCHEMA_VERSION,
    Contract,
    Manifest,
    Precision,
    Provenance,
    TensorSpec,
    load_manifest,
    read_manifest,
)
from app.contract.preprocess import PREPROCESS_ID
from app.contract.sidecar import ManifestError, golden_path, manifest_path
from app.inference.session import EmotionSession
from training.architectures.heads import Head
from training.data.annotator_votes import NO_MAJORITY, AnnotatorVotes
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation.evaluate import predict_logits, record
from training.export.checks import allowed_loss, check_accuracy_loss, check_parity, check_plain
from training.export.golden import write_golden
from training.export.graph import open_graph, to_onnx
from training.export.network import Network, load_network
from training.export.quantize import convert
from training.export.temperature import fit_temperature
from training.export.version import next_version
from training.files import write_text
from training.fit.run_folder import RunFolder


def export(
    run: RunFolder,
    dataset: Fer2013,
    model_path: Path,
    votes: AnnotatorVotes | None = None,
    head: Head = Head.ORIGINAL,
    precision: Precision = "float32",
) -> Manifest:
    """Export the weights of a run and measure the ONNX file on PublicTest.

    Args:
        run: A finished run.
        dataset: PublicTest fits the temperature; Training provides the golden vectors.
        model_path: ONNX file to write; manifest and golden vectors are written beside it.
        votes: Annotator votes, for metrics against their majority label. Required for the annotators' head.
        head: Head that gives the logits.
        precision: Precision of the ONNX file.

    Returns:
        The manifest as written.

    Raises:
        TrainingError: The run is not finished, or the graph fails a check of `training.export.checks`.
    """
    return export_network(load_network(run, head), dataset, model_path, votes, precision)


def export_network(
    network: Network,
    dataset: Fer2013,
    model_path: Path,
    votes: AnnotatorVotes | None = None,
    precision: Precision = "float32",
    temperature: float | None = None,
) -> Manifest:
    """Export a network and measure the ONNX file on PublicTest; see `export`.

    A given `temperature` is not fitted. A network that learned a labelled set of a user is not measured here.
    """
    public = dataset[Split.PUBLIC_TEST]
    labels = _calibration_labels(public, votes, network.head)
    labelled = labels != NO_MAJORITY
    model_path.parent.mkdir(parents=True, exist_ok=True)
    # In the target folder, so that the files can be moved into place atomically.
    with tempfile.TemporaryDirectory(dir=model_path.parent, prefix=".export-") as name:
        folder = Path(name)
        _print_step(model_path, "convert to ONNX and compare with Keras")
        graph = to_onnx(network.served, folder)
        if network.plain:
            check_plain(graph)
        session = open_graph(graph)
        check_parity(session, network.trained, public.images)
        logits = predict_logits(session, public.images)
        if precision != "float32":
            _print_step(model_path, f"convert to {precision} and compare the accuracy")
            graph = convert(graph, precision, dataset[Split.TRAINING].images)
            if dataset.is_own:
                _check_loss_on_all(session, open_graph(graph), dataset, precision)
            float32_accuracy = _accuracy(logits[labelled], labels[labelled])
            logits = predict_logits(open_graph(graph), public.images)
            if not dataset.is_own:
                check_accuracy_loss(float32_accuracy, _accuracy(logits[labelled], labels[labelled]), precision)
        temperature = temperature or fit_temperature(logits[labelled], labels[labelled])
        contract = _contract(model_path, temperature, precision)
        staged = folder / model_path.name
        write_model(staged, graph, contract, network.provenance)
        write_golden(golden_path(staged), open_graph(graph), dataset[Split.TRAINING])
        EmotionSession(staged, "cpu", threads=1).self_test()
        # The ONNX file last: a service that watches the folder reloads when the ONNX file changes.
        for path in (golden_path(staged), manifest_path(staged), staged):
            shutil.move(path, model_path.parent / path.name)
    if dataset.is_own:
        return load_manifest(model_path)
    _print_step(model_path, "measure PublicTest")
    return record(model_path, dataset, [Split.PUBLIC_TEST], votes)


def _calibration_labels(public: SplitData, votes: AnnotatorVotes | None, head: Head) -> npt.NDArray[np.int64]:
    """Return the labels that the head was trained on, int64 (N,), with `NO_MAJORITY` for images without a label."""
    if head is Head.ORIGINAL:
        return public.labels
    if votes is None:
        raise TrainingError(
            "the annotators' head is calibrated on the annotator votes: name the file of the votes with --votes."
        )
    return votes.of(public.names).majority()


def _check_loss_on_all(
    float32: ort.InferenceSession, converted: ort.InferenceSession, dataset: Fer2013, precision: Precision
) -> None:
    """Check the loss by conversion on Training and validation together: a validation split of a user can be small."""
    splits = [dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]]
    images, labels = (np.concatenate([getattr(split, name) for split in splits]) for name in ("images", "labels"))
    before, after = (predict_logits(each, images).argmax(axis=1) == labels for each in (float32, converted))
    check_accuracy_loss(
        float(before.mean()), float(after.mean()), precision, "train and validation", allowed_loss(before, after)
    )


def _print_step(model_path: Path, step: str) -> None:
    print(f"{model_path.name}: {step}", flush=True)


def _accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _contract(model_path: Path, temperature: float, precision: Precision) -> Contract:
    return Contract(
        schema_version=SCHEMA_VERSION,
        name=model_path.stem,
        version=next_version(_present_version(model_path)),
        labels=LABELS,
        preprocess_id=PREPROCESS_ID,
        input=TensorSpec(name="image", dtype="uint8", shape=INPUT_SHAPE),
        output=TensorSpec(name="logits", dtype="float32", shape=OUTPUT_SHAPE),
        temperature=temperature,
        precision=precision,
    )


def _present_version(model_path: Path) -> str | None:
    try:
        return read_manifest(model_path).contract.version
    except ManifestError:
        return None


def write_model(path: Path, graph: onnx.ModelProto, contract: Contract, provenance: Provenance) -> None:
    """Write the ONNX file with embedded contract and provenance, and its manifest without metrics."""
    embedded = {CONTRACT_KEY: contract.model_dump_json(), PROVENANCE_KEY: provenance.model_dump_json()}
    onnx.helper.set_model_props(graph, embedded)
    onnx.save(graph, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest(contract=contract, provenance=provenance, sha256=digest)
    write_text(manifest_path(path), manifest.model_dump_json(indent=2) + "\n")
