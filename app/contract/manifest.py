"""Manifest of an ONNX model file: schema, loading and verification.

`Contract` and `Provenance` are embedded in the metadata of the ONNX file. The sidecar `<name>.manifest.json` repeats
them and adds the file's sha256 and the metrics. Unknown and missing keys are errors. Aliases are names of version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError

from app.contract.comparison import PairedComparison
from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX, PREPROCESS_ID
from app.contract.sidecar import HashedSidecar, ManifestError, Strict, first_problem, manifest_path, read_sidecar

Precision = Literal["float32", "float16", "int8"]

SCHEMA_VERSION = 1
CONTRACT_KEY = "fer.contract"
PROVENANCE_KEY = "fer.provenance"
INPUT_SHAPE: tuple[str | int, ...] = ("batch", CROP_SIZE_PX, CROP_SIZE_PX, 1)
OUTPUT_SHAPE: tuple[str | int, ...] = ("batch", len(LABELS))


class TensorSpec(Strict):
    """Name, element type (numpy name) and shape of one tensor. A string in the shape is a symbolic dimension."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


class Contract(Strict):
    """Properties of a model that training and serving must agree on."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: str = Field(pattern=r"^\d{4}\.\d{1,2}\.\d+$", description="year.month.number")
    labels: tuple[str, ...]
    preprocess_id: str
    input: TensorSpec
    output: TensorSpec
    temperature: float = Field(gt=0)
    precision: Precision = Field(default="float32", description="arithmetic inside the network")


class Provenance(Strict):
    """Origin of the weights: code, config, dataset, packages, hardware."""

    commit: str
    config: dict[str, Any]
    dataset: dict[str, Any]
    seed: int
    packages: dict[str, str]
    hardware: dict[str, Any]
    wall_s: float
    learned_labels: Annotated[
        Literal["original", "annotators"], BeforeValidator(lambda value: "annotators" if value == "crowd" else value)
    ] = Field(default="original", description="original: FER2013's own labels; annotators: the votes of FER+")


class ClassMetrics(Strict):
    """Metrics of one label against all others, 0 to 1."""

    precision: float
    recall: float
    f1: float
    support: int


class ReliabilityBin(Strict):
    """Images in one of 15 confidence bins of equal width."""

    images: int
    confidence: float = Field(description="mean")
    accuracy: float


class SplitMetrics(Strict):
    """Metrics of one split, 0 to 1. `accuracy_interval` is Wilson's 95 % interval."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    accuracy_without_duplicates: float | None = Field(
        default=None,
        validation_alias=AliasChoices("accuracy_without_duplicates", "accuracy_without_training_twins"),
        description="without images that are exact duplicates of Training images",
    )
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...] = Field(description="rows: true label, columns: predicted, in label order")
    nll_before_temperature: float
    nll: float
    ece_before_temperature: float = Field(description="15 bins of equal width")
    ece: float
    reliability: tuple[ReliabilityBin, ...] = ()


class SetMetrics(Strict):
    """Measured properties of prediction sets on one split."""

    coverage: float = Field(description="share of images whose label is in the set")
    mean_size: float = Field(description="mean number of emotions in a set")
    coverage_by_emotion: dict[str, float]


class PredictionSets(Strict):
    """Thresholds of the prediction sets for one coverage, calibrated on PublicTest."""

    method: Literal["class_conditional", "marginal"] = Field(
        description="class_conditional: the coverage holds for each emotion; marginal: for all images together"
    )
    thresholds: dict[str, float] = Field(description="smallest score of each label that belongs to the set")
    measured: dict[str, SetMetrics] = Field(default_factory=dict, description="by split")


class GroupMetrics(Strict):
    """Accuracy of one group of images, 0 to 1. `accuracy_interval` is Wilson's 95 % interval."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]


class LabelledSetMetrics(Strict):
    """Metrics on one split of a labelled set of the user."""

    dataset_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    metrics: SplitMetrics
    groups: dict[str, dict[str, GroupMetrics]] = Field(default_factory=dict, description="by column and group")
    before: PairedComparison | None = Field(default=None, description="comparison with the model before fine-tuning")


class Latency(Strict):
    """Measured latency."""

    processor: str
    ms_by_batch: dict[int, float] = Field(description="median milliseconds per face on one core, by batch size")


class Manifest(HashedSidecar):
    """Content of the sidecar file of one ONNX file."""

    contract: Contract
    provenance: Provenance
    metrics: dict[str, SplitMetrics] = Field(default_factory=dict, description="by split, against FER2013's own labels")
    annotator_metrics: dict[str, SplitMetrics] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("annotator_metrics", "crowd_metrics"),
        description="by split, against the annotators' majority label, of images that have one",
    )
    labelled_sets: dict[str, LabelledSetMetrics] = Field(
        default_factory=dict, description="by name and split, such as `mine.csv test`; not measured on FER2013"
    )
    robustness: dict[str, float] = Field(default_factory=dict, description="accuracy on PrivateTest by corruption")
    latency: Latency | None = None
    prediction_sets: dict[str, PredictionSets] = Field(default_factory=dict, description="by coverage, such as 0.9")


def load_manifest(model_path: Path) -> Manifest:
    """Read the manifest of an ONNX file, and verify the hash of the file and its contract.

    Raises:
        ManifestError: A file is missing or damaged, the hash differs, or this service does not support the contract.
    """
    manifest = read_manifest(model_path)
    _check_contract(manifest.contract, manifest_path(model_path))
    return manifest


def read_manifest(model_path: Path) -> Manifest:
    """Read the manifest of an ONNX file, of any contract, and verify the hash; errors are those of `load_manifest`."""
    return read_sidecar(model_path, Manifest)


def verify_embedded(manifest: Manifest, metadata: Mapping[str, str], model_path: Path) -> None:
    """Verify that the contract embedded in the ONNX file equals the contract in the manifest.

    Args:
        manifest: Content of the sidecar file.
        metadata: Custom metadata of the ONNX file.
        model_path: ONNX file, for the error message.

    Raises:
        ManifestError: The embedded contract is missing or differs. The message names the fields.
    """
    if CONTRACT_KEY not in metadata:
        raise ManifestError(f"{model_path} has no embedded contract: expected the metadata key {CONTRACT_KEY!r}")
    try:
        embedded = Contract.model_validate_json(metadata[CONTRACT_KEY])
    except ValidationError as error:
        raise ManifestError(f"{model_path}: the embedded contract is not valid: {first_problem(error)}") from error
    differing = [name for name in Contract.model_fields if getattr(embedded, name) != getattr(manifest.contract, name)]
    if differing:
        raise ManifestError(f"{model_path} and its manifest have different contracts: {', '.join(differing)}")


def _check_contract(contract: Contract, sidecar: Path) -> None:
    expectations: tuple[tuple[str, object, object], ...] = (
        ("labels", LABELS, contract.labels),
        ("preprocess_id", PREPROCESS_ID, contract.preprocess_id),
        ("input", TensorSpec(name="image", dtype="uint8", shape=INPUT_SHAPE), contract.input),
        ("output", TensorSpec(name="logits", dtype="float32", shape=OUTPUT_SHAPE), contract.output),
    )
    for name, expected, received in expectations:
        if expected != received:
            raise ManifestError(f"{sidecar}: expected {name} {expected}. Received: {received}")
