"""Train, calibrate, measure and export a face verifier, or calibrate an exported one again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from app.contract.verifier import VerifierManifest, load_verifier_manifest
from training.config import parse_section
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013, Split, SplitData
from training.provenance import describe_dataset, describe_environment
from training.verifier import export, measure
from training.verifier.config import VerifierConfig
from training.verifier.fit import fit
from training.verifier.mining import MinedCrops
from training.verifier.samples import Sources, clean_faces

_PARITY_CROPS = 512


def train_verifier(
    config: VerifierConfig,
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    train: MinedCrops,
    test: MinedCrops,
    to: Path,
) -> VerifierManifest:
    """Train a network and write its ONNX file with manifest, golden vectors and card.

    Args:
        config: The recipe.
        dataset: FER2013. Training gives the faces of the network, PublicTest those of the calibration.
        votes: Annotator votes, to leave out crops that show no face.
        train: Mined crops for the network.
        test: Mined crops of other pictures, for the calibration.
        to: ONNX file to write.

    Returns:
        The manifest as written, with the figures.

    Raises:
        TrainingError: The ONNX graph does not compute the logits of the Keras model.
    """
    started = time.perf_counter()
    model = fit(config, Sources(clean_faces(dataset[Split.TRAINING], votes), train.others))
    held_out = _held_out(dataset, votes, train, test)
    graph = export.to_graph(model, config.widths, held_out.faces[:_PARITY_CROPS])
    provenance = describe_environment() | {
        "config": config.model_dump(mode="json"),
        "dataset": describe_dataset(dataset, votes),
        "crops": {
            "others": len(train.others),
            "pictures": len(set(train.other_sources.tolist())),
            "sources": _folders(train.other_sources),
            "test_sources": _folders(test.other_sources),
        },
        "parameters": model.count_params(),
        "wall_s": round(time.perf_counter() - started, 1),
    }
    return _calibrate_and_write(to, graph, config, dataset[Split.TRAINING], held_out, provenance)


def recalibrate(
    path: Path,
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    train: MinedCrops,
    test: MinedCrops,
    face_prior: float,
    threshold: float,
) -> VerifierManifest:
    """Calibrate and measure an exported network again, for another share of faces. The network stays.

    Args:
        path: ONNX file with its manifest.
        dataset: FER2013, as for `train_verifier`.
        votes: Annotator votes, as for `train_verifier`.
        train: Mined crops of the training; only their faces are measured.
        test: Mined crops of other pictures, for the calibration.
        face_prior: Share of faces among the boxes that the network judges.
        threshold: Smallest probability that a detector returns.

    Returns:
        The manifest as written.

    Raises:
        ManifestError: The file or its manifest is missing or damaged.
        TrainingError: A value is out of its range.
    """
    present = load_verifier_manifest(path)
    recipe = present.provenance["config"] | {"face_prior": face_prior, "threshold": threshold}
    config = parse_section(VerifierConfig, recipe, str(path))
    held_out = _held_out(dataset, votes, train, test)
    provenance = present.provenance | {"config": config.model_dump(mode="json")}
    return _calibrate_and_write(path, onnx.load(path), config, dataset[Split.TRAINING], held_out, provenance)


def _calibrate_and_write(
    path: Path,
    graph: onnx.ModelProto,
    config: VerifierConfig,
    training: SplitData,
    held_out: measure.HeldOut,
    provenance: dict[str, Any],
) -> VerifierManifest:
    predict = export.predictor(graph)
    calibration = measure.calibrate(predict, held_out, config)
    metrics = measure.figures(predict, calibration, held_out, config.face_prior)
    return export.write_verifier(path, graph, training, calibration, config.threshold, metrics, provenance)


def _held_out(dataset: Fer2013, votes: AnnotatorVotes | None, train: MinedCrops, test: MinedCrops) -> measure.HeldOut:
    faces = clean_faces(dataset[Split.PUBLIC_TEST], votes)
    return measure.HeldOut(faces, test.others, test.other_sources, np.concatenate([train.faces, test.faces]))


def _folders(sources: npt.NDArray[np.str_]) -> list[str]:
    """Return the names of the folders that the pictures come from."""
    return sorted({str(source).split("/", 1)[0] for source in sources})
