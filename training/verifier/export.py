"""Export of a trained face verifier: ONNX file, manifest, golden vectors and card."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx

from app.contract.labels import LABELS
from app.contract.preprocess import PREPROCESS_ID
from app.contract.sidecar import ManifestError, golden_path, manifest_path, read_sidecar
from app.contract.verifier import Calibration, VerifierManifest
from training.data.splits import SplitData
from training.errors import TrainingError
from training.export.checks import PARITY
from training.export.graph import open_graph, to_onnx
from training.export.version import next_version
from training.files import write_text
from training.verifier.measure import Predict
from training.verifier.network import served_form

_FACES_PER_MEAN = 32
_BATCH = 256

_CARD = """\
# Model card: {name} {version}

`python -m training verifier train` writes this file, the network and its manifest, and `verifier calibrate` writes them
again with another calibration. The network estimates whether a 48x48 crop shows a face. The service applies it to each
box that the Haar cascades verify.

| | |
| --- | --- |
| file | `{name}.onnx` (float32, {size_kb:.0f} kB, {parameters:,} parameters), sha256 `{sha256}` |
| preprocessing | `{preprocess_id}` |
| input | `image` uint8 (N, 48, 48, 1), raw grey levels |
| output | `logits` float32 (N, 1); the probability is the logistic function of `{platt}` |
| threshold | {threshold}: detectors return no box with a lower probability |
| faces | FER2013, Training split; sha256 of the decoded images `{dataset_sha256}` |
| crops without a face | {others:,} crops of {pictures} pictures ({sources}) |
| training | seed {seed}, {epochs} epochs of {steps} batches; {wall_s:.0f} s on {hardware} |
| code | commit `{commit}` |

Calibration, threshold and figures come from faces of PublicTest and from pictures that training did not use
({test_sources}). The figures are shares of crops with a probability of at least 0.5, the default of
`min_detection_confidence`. The crops without a face are what single windows of two cascades accept, and four random
places of each picture; verification removes most of them.

| crops | share |
| --- | --- |
{rows}

Faces are crops of FER2013, so the limits of that dataset apply: few children, few old people, unequal shares of skin
tones. The network uses the crop only, not its surroundings.
"""


def to_graph(trained: keras.Model, widths: tuple[int, ...], crops: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the ONNX graph of a trained network, checked against the Keras model on some crops.

    Raises:
        TrainingError: A logit differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        graph = to_onnx(served_form(trained, widths), Path(folder))
    dimensions = graph.graph.output[0].type.tensor_type.shape.dim
    dimensions[1].dim_value = 1
    expected = np.asarray(trained.predict(crops, batch_size=_BATCH, verbose=0))
    worst = float(np.abs(predictor(graph)(crops) - expected).max())
    if worst > PARITY * max(1.0, float(np.abs(expected).max())):
        raise TrainingError(f"ONNX and Keras differ by {worst:.2g} for one logit. Nothing was written.")
    return graph


def predictor(graph: onnx.ModelProto) -> Predict:
    """Return a function from crops, uint8 (N, 48, 48, 1), to logits, float32 (N, 1), that runs a graph in batches."""
    session = open_graph(graph)

    def predict(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        starts = range(0, len(crops), _BATCH)
        return np.concatenate(
            [session.run(["logits"], {"image": crops[start : start + _BATCH]})[0] for start in starts]
        )

    return predict


def write_verifier(
    path: Path,
    graph: onnx.ModelProto,
    training: SplitData,
    calibration: Calibration,
    threshold: float,
    metrics: dict[str, float],
    provenance: dict[str, Any],
) -> VerifierManifest:
    """Write the ONNX file and, beside it, its manifest, golden vectors and card.

    Args:
        path: ONNX file to write.
        graph: The network.
        training: Training split; the golden vectors contain mean faces, so that no person's image is published.
        calibration: Conversion of logits into probabilities.
        threshold: Smallest probability of a face.
        metrics: Figures by name.
        provenance: Origin of the weights; see `training.verifier.train`.
    """
    version = next_version(_present_version(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, path)
    crops = _golden_crops(training)
    np.savez_compressed(golden_path(path), crops=crops, logits=predictor(graph)(crops))
    manifest = VerifierManifest(
        schema_version=1,
        name=path.stem,
        version=version,
        preprocess_id=PREPROCESS_ID,
        calibration=calibration,
        threshold=threshold,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        provenance=provenance,
        metrics=metrics,
    )
    write_text(manifest_path(path), manifest.model_dump_json(indent=2) + "\n")
    write_text(path.with_suffix(".md"), card(manifest, path.stat().st_size))
    return manifest


def _present_version(path: Path) -> str | None:
    try:
        return read_sidecar(path, VerifierManifest).version
    except ManifestError:
        return None


def card(manifest: VerifierManifest, size_bytes: int) -> str:
    """Return the model card as Markdown."""
    origin, calibration = manifest.provenance, manifest.calibration
    rows = [
        f"| {name} | {value:,.0f} |" if name.startswith("number") else f"| {name} | {value:.2%} |"
        for name, value in manifest.metrics.items()
    ]
    return _CARD.format(
        **manifest.model_dump(include={"name", "version", "sha256", "preprocess_id", "threshold"}),
        platt=f"{calibration.scale} * logit {'-' if calibration.offset < 0 else '+'} {abs(calibration.offset)}",
        size_kb=size_bytes / 1e3,
        parameters=origin["parameters"],
        dataset_sha256=origin["dataset"]["sha256"][:16],
        others=origin["crops"]["others"],
        pictures=origin["crops"]["pictures"],
        sources=", ".join(origin["crops"]["sources"]),
        test_sources=", ".join(origin["crops"]["test_sources"]),
        seed=origin["config"]["seed"],
        epochs=origin["config"]["epochs"],
        steps=origin["config"]["steps_per_epoch"],
        wall_s=origin["wall_s"],
        hardware=origin["hardware"]["accelerator"] or origin["hardware"]["processor"],
        commit=origin["commit"],
        rows="\n".join(rows),
    )


def _golden_crops(training: SplitData) -> npt.NDArray[np.uint8]:
    means = [
        training.images[training.labels == code][:_FACES_PER_MEAN].mean(axis=0).round().astype(np.uint8)
        for code in range(len(LABELS))
    ]
    shape = means[0].shape
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.stack([*means, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), noise])
