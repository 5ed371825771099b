"""From a finished run to the files that the service loads: ONNX, manifest, golden vectors.

Batch normalisation is folded into the convolutions, the graph is channels-first inside and takes raw uint8 pixels.
Nothing is written unless the ONNX file computes what the trained Keras model computes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
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
    ManifestError,
    Precision,
    Provenance,
    TensorSpec,
    golden_path,
    load_manifest,
    manifest_path,
)
from app.contract.preprocess import PREPROCESS_ID
from app.contract.scores import probabilities
from app.inference.session import EmotionSession
from training import architectures
from training.architectures.heads import Head, build_with_heads, single_head
from training.config import TrainConfig
from training.data.annotator_votes import NO_MAJORITY, VotesFile
from training.data.fer2013 import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation.evaluate import predict_logits, record
from training.export.quantize import LARGEST_LOSS, convert
from training.export.temperature import fit_temperature
from training.fit.run_folder import RunFolder, write_text

PARITY = 1e-4
RELATIVE_PARITY = 1e-5  # networks that have hardly learned have logits of hundreds: 1e-4 of those is rounding
PARITY_BATCHES = (1, 2, 64)

_Judged = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]  # logits and the labels that judge them

# How many faces a golden crop is the mean of: the most of these with which the network still names the emotion, in one
# of so many groups of the faces that it is surest of.
_GOLDEN_FACES = (32, 24, 16, 12, 8)
_GOLDEN_GROUPS = 12
_ALLOWED_BETWEEN_CONVOLUTIONS = frozenset({"Conv", "Relu", "MaxPool"})


def export(
    run: RunFolder,
    dataset: Fer2013,
    model_path: Path,
    votes: VotesFile | None = None,
    head: Head = Head.ORIGINAL,
    precision: Precision = "float32",
) -> Manifest:
    """Exports a run's best weights.

    Args:
        run: A finished run.
        dataset: PublicTest fits the temperature and is measured; Training gives the golden vectors.
        model_path: Where the ONNX file goes; its manifest and golden vectors are put beside it.
        votes: The crowd's, for the figures against its labels and the temperature of its head.
        head: Which of the run's heads answers.
        precision: Of the file's arithmetic.

    Returns:
        The manifest written.

    Raises:
        TrainingError: The run has no report yet, the ONNX graph does not compute the trained model's logits, it has
            operations between the convolutions that do not belong there, or fewer bits cost too much accuracy.
    """
    config = run.read_config()
    if not run.report.exists():
        raise TrainingError(f"{run.path} is not finished: it has no {run.report.name}. Train it to its end first.")
    keras.config.set_dtype_policy("float32")
    with_heads = build_with_heads(config)
    with_heads.load_weights(run.best_weights)
    trained = single_head(with_heads, head)
    plain = config.model.architecture in architectures.PLAIN_WHEN_SERVED
    served, provenance = fold(trained, config, head), provenance_of(run, config, head)
    return ship(trained, served, provenance, dataset, model_path, votes, head, precision, plain=plain)


def ship(
    trained: keras.Model,
    served: keras.Model,
    provenance: Provenance,
    dataset: Fer2013,
    model_path: Path,
    votes: VotesFile | None = None,
    head: Head = Head.ORIGINAL,
    precision: Precision = "float32",
    *,
    plain: bool,
) -> Manifest:
    """Writes a network's ONNX file, manifest and golden vectors, and measures it on PublicTest.

    Args:
        trained: What the ONNX file must compute.
        served: The form to export.
        provenance: Where the weights came from.
        dataset: As in `export`.
        model_path: Where the ONNX file goes.
        votes: As in `export`.
        head: Whose labels the network learned.
        precision: Of the file's arithmetic; parity with Keras is checked before it is lowered.
        plain: Insist on a graph of nothing but convolutions, ReLU and max-pools up to the head.

    Returns:
        The manifest written.

    Raises:
        TrainingError: The ONNX graph is not the trained model within 1e-4, it is not plain, or fewer bits cost more
            than 0.3 points of PublicTest.
    """
    public = dataset[Split.PUBLIC_TEST]
    with tempfile.TemporaryDirectory(dir=_existing(model_path.parent), prefix=".export-") as folder:
        graph = to_onnx(served, Path(folder))
        if plain:
            _check_graph(graph)
        _check_parity(graph, trained, public.images)
        full = predict_logits(_session(graph), public.images)
        graph = convert(graph, precision, dataset[Split.TRAINING].images)
        logits = full if precision == "float32" else predict_logits(_session(graph), public.images)
        _check_loss(*(_calibration(answers, public, votes, head) for answers in (full, logits)))
        temperature = fit_temperature(*_calibration(logits, public, votes, head))
        contract = Contract(
            schema_version=SCHEMA_VERSION,
            name=model_path.stem,
            version=_next_version(model_path),
            labels=LABELS,
            preprocess_id=PREPROCESS_ID,
            input=TensorSpec(name="image", dtype="uint8", shape=INPUT_SHAPE),
            output=TensorSpec(name="logits", dtype="float32", shape=OUTPUT_SHAPE),
            temperature=temperature,
            precision=precision,
        )
        onnx.helper.set_model_props(
            graph,
            {CONTRACT_KEY: contract.model_dump_json(), PROVENANCE_KEY: provenance.model_dump_json()},
        )
        finished = Path(folder) / model_path.name
        onnx.save(graph, finished)
        digest = hashlib.sha256(finished.read_bytes()).hexdigest()
        manifest = Manifest(contract=contract, provenance=provenance, sha256=digest)
        write_text(manifest_path(finished), manifest.model_dump_json(indent=2) + "\n")
        _write_golden(finished, graph, dataset)
        session = EmotionSession(finished, "cpu", threads=1)
        session.self_test()
        # The model file last: a service that watches the folder never sees it without its companions' new state.
        for path in (golden_path(finished), manifest_path(finished), finished):
            shutil.move(path, model_path.parent / path.name)
    return record(model_path, dataset, [Split.PUBLIC_TEST], votes)


def fold(trained: keras.Model, config: TrainConfig, head: Head = Head.ORIGINAL) -> keras.Model:
    """The SERVED form of a trained network with one head; see `training.architectures`."""
    return architectures.fold(trained, config.model, head.value)


def to_onnx(served: keras.Model, folder: Path) -> onnx.ModelProto:
    """Keras' exporter, then ONNX Runtime's portable optimisations (constant folding, needless casts), then names.

    Args:
        served: A network in its SERVED form.
        folder: For files in between.
    """
    raw, optimised = folder / "raw.onnx", folder / "optimised.onnx"
    served(np.zeros((1, *served.input_shape[1:]), np.uint8))  # Keras exports only a model that was called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's tracer warns of Keras' shape checks, which are constants here
        served.export(raw, format="onnx", verbose=False)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(optimised)
    ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    model = onnx.load(optimised)
    _rename(model.graph, model.graph.output[0].name, "logits")
    for value, shape in ((model.graph.input[0], INPUT_SHAPE), (model.graph.output[0], OUTPUT_SHAPE)):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = str(shape[0])
    del model.graph.value_info[:]
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version = "fer-serve", ""
    onnx.checker.check_model(model, full_check=True)
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
    for value in graph.output:
        value.name = new if value.name == old else value.name


def _check_graph(model: onnx.ModelProto) -> None:
    operations = [node.op_type for node in model.graph.node]
    convolutions = [index for index, operation in enumerate(operations) if operation == "Conv"]
    between = set(operations[convolutions[0] : convolutions[-1] + 1]) if convolutions else set()
    if not between or not between <= _ALLOWED_BETWEEN_CONVOLUTIONS:
        raise TrainingError(
            f"the ONNX graph has {sorted(between - _ALLOWED_BETWEEN_CONVOLUTIONS)} between its convolutions;"
            f" only {sorted(_ALLOWED_BETWEEN_CONVOLUTIONS)} belong there"
        )


def _check_parity(graph: onnx.ModelProto, trained: keras.Model, images: npt.NDArray[np.uint8]) -> None:
    session = _session(graph)
    for batch in PARITY_BATCHES:
        chosen = images[:batch]
        expected = np.asarray(trained.predict(chosen, batch_size=batch, verbose=0))
        (received,) = session.run(["logits"], {"image": chosen})
        if not np.allclose(received, expected, rtol=RELATIVE_PARITY, atol=PARITY):
            worst = np.unravel_index(np.abs(expected - received).argmax(), expected.shape)
            raise TrainingError(
                f"ONNX and Keras differ at batch {batch}: {received[worst]:.7g} and {expected[worst]:.7g} for one"
                f" logit; at most {PARITY:g} and {RELATIVE_PARITY:g} of the logit is accepted. Nothing was written."
            )


def _check_loss(full: _Judged, fewer_bits: _Judged) -> None:
    before, after = ((logits.argmax(axis=1) == labels).mean() for logits, labels in (full, fewer_bits))
    if before - after > LARGEST_LOSS:
        raise TrainingError(
            f"fewer bits cost {before - after:.2%} of PublicTest ({before:.2%} to {after:.2%}); at most"
            f" {LARGEST_LOSS:.1%} is accepted. Nothing was written."
        )


def _session(graph: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def _write_golden(model_path: Path, graph: onnx.ModelProto, dataset: Fer2013) -> None:
    """Crops that stand for every class, with their logits: means of faces, so that no person's image ships."""
    training = dataset[Split.TRAINING]
    session = _session(graph)
    scores = probabilities(predict_logits(session, training.images), 1.0)
    confidence = scores[np.arange(len(scores)), training.labels]
    crops = []
    for code in range(len(LABELS)):
        members = np.flatnonzero(training.labels == code)
        surest = members[np.argsort(-confidence[members], kind="stable")]
        means = np.stack(list(_means(training.images[surest])))
        is_named = predict_logits(session, means).argmax(axis=1) == code
        crops.append(means[is_named.argmax()])  # the first that is, or the first of all
    shape = crops[0].shape
    crops += [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    crops.append(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    stacked = np.stack(crops)
    (logits,) = session.run(["logits"], {"image": stacked})
    np.savez_compressed(golden_path(model_path), crops=stacked, logits=logits)


def _means(faces: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Mean faces of the surest first: of many at once, then of fewer, each time of group after group."""
    for count in _GOLDEN_FACES:
        groups = [faces[start : start + count] for start in range(0, _GOLDEN_GROUPS * count, count)]
        for group in groups:
            if len(group) == count or group is groups[0]:
                yield group.mean(axis=0).round().astype(np.uint8)


def _calibration(logits: npt.NDArray[np.float32], public: SplitData, votes: VotesFile | None, head: Head) -> _Judged:
    """The logits and labels that the temperature is fitted to: the labels that the head learned."""
    if head is Head.ORIGINAL:
        return logits, public.labels
    if votes is None:
        raise TrainingError("the crowd's head is calibrated on the crowd's votes: name their file with --votes.")
    majority = votes.of(public.names).majority()
    return logits[majority != NO_MAJORITY], majority[majority != NO_MAJORITY]


def _describe(run: RunFolder, config: TrainConfig) -> tuple[dict[str, Any], float]:
    """A run's config, and what it borrowed, with those of the runs that it started from in it; the seconds of all."""
    wall_s: float = json.loads(run.report.read_text(encoding="utf-8"))["wall_s"]
    recorded = json.loads(run.provenance.read_text(encoding="utf-8"))
    if (whole := recorded.get("restored_config")) is not None:
        return whole, wall_s
    described: dict[str, Any] = config.model_dump(mode="json")
    borrowed = recorded.get("borrowed_weights")
    if borrowed:
        described["borrowed_weights"] = borrowed
    if config.start is not None:
        first = RunFolder(config.start)
        described["start_config"], earlier_s = _describe(first, first.read_config())
        wall_s += earlier_s
    return described, wall_s


def provenance_of(run: RunFolder, config: TrainConfig, head: Head = Head.ORIGINAL) -> Provenance:
    """Where a finished run's weights came from."""
    trained: dict[str, Any] = json.loads(run.provenance.read_text(encoding="utf-8"))
    described, wall_s = _describe(run, config)
    return Provenance(
        commit=trained["commit"],
        config=described,
        dataset=trained["dataset"],
        seed=config.seed,
        packages=trained["packages"],
        hardware=trained["hardware"],
        wall_s=round(wall_s, 1),
        learned_labels="original" if head is Head.ORIGINAL else "crowd",
    )


def _next_version(model_path: Path) -> str:
    """Year, month, and a number that goes on from the model that is replaced."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    prefix = f"{today.year}.{today.month}."
    try:
        present = load_manifest(model_path).contract.version
    except ManifestError:
        return prefix + "1"
    return prefix + (str(int(present.removeprefix(prefix)) + 1) if present.startswith(prefix) else "1")


def _existing(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
