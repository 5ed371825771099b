"""Make a run folder from a shipped ONNX file, for a warm start without the original run.

Export folds every batch normalisation into the convolution before it. Here each convolution gets a normalisation again,
with the statistics of its features on Training: the network computes the logits of the file, and can be trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from keras import layers

from app.contract.manifest import Manifest, Provenance, load_manifest
from training import provenance
from training.architectures import LOGITS
from training.architectures.heads import build_with_heads
from training.config import TrainConfig, load_recorded_config
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation.evaluate import predict_logits
from training.evaluation.metrics import measure
from training.files import write_json, write_text
from training.fit.epoch import Logits, predict
from training.fit.run_folder import RunFolder

# The only network whose file contains all its weights: the branches of `repvgg` are lost in the file.
_ARCHITECTURE = "vgg"
# Parts of the run that are not in the file: the annotators' head, and the parent runs.
_LOST = {"annotator_votes": None, "warm_start": None, "distillation": None, "averaged_epochs": None}
_IMAGES = 4096  # for the statistics
_BATCH = 128
_PARITY = 1e-3  # largest difference of a logit

_Arrays = list[npt.NDArray[np.float32]]


def restore(model_path: Path, dataset: Fer2013, run: RunFolder) -> None:
    """Write a finished run with config, weights, report and provenance, but without history and checkpoint.

    Args:
        model_path: A `vgg` in full precision that learned the original labels, with its manifest.
        dataset: Training gives the statistics; PublicTest is measured for the report.
        run: The folder to write; it must be empty or missing.

    Raises:
        ManifestError: The file or its manifest is damaged or of another contract.
        TrainingError: The file has another network or precision, or the folder is not empty.
    """
    manifest = load_manifest(model_path)
    run.check_empty()
    if manifest.contract.precision != "float32":
        raise TrainingError(f"expected a file in full precision (float32). Received: {manifest.contract.precision}")
    config = _config_of(manifest.provenance)
    keras.config.set_dtype_policy("float32")
    model = build_with_heads(config)
    *convolutions, (kernel, bias) = _weights_of(onnx.load(model_path))
    _unfold(model, convolutions, _sample(dataset[Split.TRAINING].images))
    model.get_layer(LOGITS).set_weights([kernel, bias])
    public = dataset[Split.PUBLIC_TEST]
    logits = predict(model, public.images)[LOGITS]
    expected = predict_logits(ort.InferenceSession(model_path, providers=["CPUExecutionProvider"]), public.images)
    if (worst := float(np.abs(logits - expected).max())) > _PARITY:
        raise TrainingError(
            f"the restored network is not that of {model_path}: expected logits within {_PARITY}."
            f" Received: a difference of {worst:.2g}. Nothing was written."
        )
    _write_run(run, config, model, manifest, logits, public)


def _write_run(
    run: RunFolder, config: TrainConfig, model: keras.Model, manifest: Manifest, logits: Logits, public: SplitData
) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    model.save_weights(run.best_weights)
    run.write_provenance(
        {
            **manifest.provenance.model_dump(mode="json", include={"commit", "dataset", "packages", "hardware"}),
            "parameters": model.count_params(),
            "restored_by": provenance.describe_environment(),
            "restored_config": manifest.provenance.config | {"restored_from": manifest.sha256},
        }
    )
    write_text(run.config, config.model_dump_json(indent=2) + "\n")
    measured = measure(logits, public.labels, temperature=1.0)
    write_json(  # last: a run with a report is finished
        run.report, {"wall_s": manifest.provenance.wall_s, Split.PUBLIC_TEST: measured.model_dump(mode="json")}
    )


def _config_of(origin: Provenance) -> TrainConfig:
    """Return the config of the run, without the parts that the file does not contain."""
    architecture = (origin.config.get("model") or {}).get("architecture")
    if architecture != _ARCHITECTURE or origin.learned_labels != "original":
        raise TrainingError(
            f"expected a network {_ARCHITECTURE} that learned the original labels."
            f" Received: {architecture}, {origin.learned_labels} labels"
        )
    return load_recorded_config(origin.config).model_copy(update=_LOST)


def _weights_of(file: onnx.ModelProto) -> list[_Arrays]:
    """Return kernel (height, width, in, out) and bias of every convolution in order, then of the head (in, out)."""
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in file.graph.initializer}
    found: list[_Arrays] = []
    for node in file.graph.node:
        if node.op_type == "Conv":
            found.append([arrays[node.input[1]].transpose(2, 3, 1, 0), arrays[node.input[2]]])
        elif node.op_type == "Gemm":
            found.append([arrays[node.input[1]], arrays[node.input[2]]])
    return found


def _sample(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return evenly spaced images, because the images are sorted by label."""
    return images[:: max(1, len(images) // _IMAGES)]


def _unfold(model: keras.Model, weights: list[_Arrays], images: npt.NDArray[np.uint8]) -> None:
    """Set the weights of convolutions and normalisations so that each pair computes the folded convolution."""
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    for layer, (kernel, bias) in zip(convolutions, weights, strict=True):
        layer.set_weights([kernel])
        channels, epsilon = len(bias), _normalisation(model, layer).epsilon
        # At first the normalisation only adds the bias, so that later layers get their final inputs.
        _normalisation(model, layer).set_weights(
            [np.ones(channels), bias, np.zeros(channels), np.full(channels, 1 - epsilon)]
        )
    means, variances = _statistics(model, convolutions, images)
    for layer, (_, bias), mean, variance in zip(convolutions, weights, means, variances, strict=True):
        gamma = np.sqrt(variance + _normalisation(model, layer).epsilon)
        _normalisation(model, layer).set_weights([gamma, bias + mean, mean, variance])


def _normalisation(model: keras.Model, convolution: keras.Layer) -> Any:
    return model.get_layer(f"{convolution.name}_bn")


def _statistics(
    model: keras.Model, convolutions: list[keras.Layer], images: npt.NDArray[np.uint8]
) -> tuple[_Arrays, _Arrays]:
    """Return mean and variance of every channel of every convolution's output."""
    features = keras.Model(model.input, [layer.output for layer in convolutions])
    sums = [np.zeros((2, layer.filters)) for layer in convolutions]
    pixels = np.zeros(len(convolutions))
    for start in range(0, len(images), _BATCH):
        for index, output in enumerate(features.predict_on_batch(images[start : start + _BATCH])):
            flat = output.reshape(-1, output.shape[-1])
            sums[index] += flat.sum(axis=0, dtype=np.float64), np.square(flat).sum(axis=0, dtype=np.float64)
            pixels[index] += len(flat)
    means = [total / count for (total, _), count in zip(sums, pixels, strict=True)]
    squares = [total / count for (_, total), count in zip(sums, pixels, strict=True)]
    variances = [np.maximum(square - mean**2, 0) for square, mean in zip(squares, means, strict=True)]
    return means, variances
