"""Model card of a model that learned a labelled set of a user. Its figures come from the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.contract.manifest import LabelledSetMetrics, Manifest, load_manifest
from training.errors import TrainingError
from training.evaluation import plots
from training.evaluation.metrics import wilson_interval
from training.export.card_tables import class_table, confusion_table
from training.export.card_text import INTENDED_USE, plain_onnxruntime
from training.files import write_text

_TEMPLATE = """\
# Model card: {name} {version}

`python -m training fine-tune` writes this file from `{name}.manifest.json`. Every figure was measured on `{name}.onnx`,
with the session that the service uses.

## Model

| | |
| --- | --- |
| file | `{name}.onnx` ({precision}), sha256 `{sha256}` |
| started from | `{origin}`, sha256 `{origin_sha256}`, trained on {origin_data} |
| training data | {data}: {counts}; sha256 of the crops `{data_sha256}` |
| preprocessing | `{preprocess_id}` |
| input | `image` uint8 (N, 48, 48, 1), raw grey levels |
| output | `logits` float32 (N, 7); `softmax(logits / {temperature})` gives calibrated probabilities |
| training | seed {seed}, {epochs} epochs{frozen}; code: commit `{commit}` |

The epoch was chosen on the validation split. Nothing was chosen on the test split.

{plain}## Accuracy on {test_name}

| | images | accuracy | 95 % interval | macro F1 | ECE |
| --- | ---: | ---: | --- | ---: | ---: |
{rows}

{difference}

### By emotion

{class_table}

### Confusion matrix

Rows are true labels, columns are predictions.

{confusion_table}

![Accuracy against confidence]({name}.reliability.png)

{intended_use}## Known limitations

- The figures are those of one data set. Measure the model on images of the place where it is used:
  `python -m training evaluate {name}.onnx --data DATA --groups COLUMN`.
- A class with few or no training images may be forgotten. The training split has {train_counts}.
- The labels of the data set are the judgement of its annotators.
"""


def write_own_card(model_path: Path, to: Path) -> None:
    """Write the card and, beside it, the reliability diagram that the card shows.

    Args:
        model_path: ONNX file that `fine-tune` wrote.
        to: Markdown file to write.

    Raises:
        ManifestError: The file does not match its manifest.
        TrainingError: The manifest has no figures of a test split.
    """
    manifest = load_manifest(model_path)
    write_text(to, own_card(manifest))
    name, test = _test_of(manifest)
    title = f"{manifest.contract.name} {manifest.contract.version}, {name}"
    plots.plot_reliability(test.metrics, title, to.with_name(f"{manifest.contract.name}.reliability.png"))


def is_fine_tuned(manifest: Manifest) -> bool:
    """Return whether `fine-tune` made the model."""
    return "fine_tuned_from" in manifest.provenance.dataset


def own_card(manifest: Manifest) -> str:
    """Return the card as Markdown.

    Raises:
        TrainingError: The manifest has no figures of a test split.
    """
    contract, provenance = manifest.contract, manifest.provenance
    data, config = provenance.dataset, provenance.config
    origin: dict[str, Any] = data["fine_tuned_from"]
    test_name, test = _test_of(manifest)
    frozen = config.get("frozen_layers")
    return _TEMPLATE.format(
        name=contract.name,
        version=contract.version,
        precision=contract.precision,
        sha256=manifest.sha256,
        origin=f"{origin['name']} {origin['version']}",
        origin_sha256=origin["sha256"],
        origin_data=origin["dataset"]["name"],
        data=f"`{data['name']}`",
        counts=", ".join(f"{count:,} {split}" for split, count in data["counts"].items()),
        data_sha256=data["sha256"][:16],
        preprocess_id=contract.preprocess_id,
        temperature=contract.temperature,
        seed=provenance.seed,
        epochs=config["epochs"],
        frozen=f", without the layers {', '.join(frozen)}" if frozen else "",
        commit=provenance.commit,
        plain=plain_onnxruntime(contract),
        test_name=test_name,
        rows=_rows(test),
        difference=_difference(test),
        class_table=class_table(test.metrics),
        confusion_table=confusion_table(test.metrics),
        intended_use=INTENDED_USE,
        train_counts=", ".join(f"{count} {label}" for label, count in data["train_images_by_label"].items()),
    )


def _test_of(manifest: Manifest) -> tuple[str, LabelledSetMetrics]:
    """Return name and figures of the test split of the data that the model learned."""
    name = f"{manifest.provenance.dataset['name']} test"
    if name not in manifest.labelled_sets:
        raise TrainingError(
            f"expected a model with figures of its own test split, {name}. Received: {manifest.contract.name}, with"
            f" figures of {', '.join(manifest.labelled_sets) or 'no labelled set'}. Repeat `fine-tune`."
        )
    return name, manifest.labelled_sets[name]


def _rows(test: LabelledSetMetrics) -> str:
    metrics = test.metrics
    low, high = metrics.accuracy_interval
    rows = [
        f"| this model | {metrics.images} | **{metrics.accuracy:.2%}** | {low:.2%} to {high:.2%}"
        f" | {metrics.macro_f1:.3f} | {metrics.ece:.3f} |"
    ]
    if test.before is not None:
        low, high = wilson_interval(round(test.before.accuracy * metrics.images), metrics.images)
        rows.append(
            f"| before: {test.before.model} | {metrics.images} | {test.before.accuracy:.2%} | {low:.2%} to {high:.2%}"
            " | | |"
        )
    return "\n".join(rows)


def _difference(test: LabelledSetMetrics) -> str:
    if test.before is None:
        return ""
    before = test.before
    return (
        f"{before.only_this} images are correct with this model only, {before.only_other} with the model before only"
        f" (McNemar's test: p = {before.p_value:.2g})."
    )
