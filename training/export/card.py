"""Writes the model card from the manifest, so that no figure in it is copied by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from app.contract.labels import LABELS
from app.contract.manifest import Manifest, Provenance, SplitMetrics, load_manifest
from training.data.fer2013 import EXPECTED_COUNTS, Split
from training.errors import TrainingError
from training.evaluation import plots
from training.fit.run_folder import write_text
from training.studies.seeds import table

_DEFAULT_MODEL = "fer_vgg"  # whose card is models/README.md
_TEMPLATE = """\
# Model card: {name} {version}

Written by `python -m training card` from `{name}.manifest.json`; every figure was measured on `{name}.onnx` itself,
through the session that serves it, by `python -m training evaluate`.

## What it is

A VGG-style convolutional network ({widths} channels, {convolutions} 3x3 convolutions a stage, global average
pooling) that gives seven scores to one 48x48 grey face crop: {labels}. Input `image` uint8 (N, 48, 48, 1), raw grey
levels; output `logits` float32 (N, 7); divide by the temperature {temperature} before the softmax.

| | |
| --- | --- |
| file | `{name}.onnx` ({arithmetic}), sha256 `{sha256}` |
| preprocessing | `{preprocess_id}` |
| trained | seed {seed}, {epochs} epochs, {wall_min:.0f} minutes on {hardware} |
| code | commit `{commit}` |
| data | FER2013, Training split only ({training_images} images; sha256 of the decoded set `{dataset_sha256}`){votes} |

{learned} The epoch and the temperature were chosen on PublicTest. PrivateTest chose nothing.{history}

## Figures

{accuracy_table}

"Without twins" leaves out test images whose exact pixels stand in Training too. People agree with these labels on
about 65 % of the images, so differences of a point or two are within what the labels themselves can tell.

{crowd_section}### Each emotion, PrivateTest, {judge}

{class_table}

### Confusion, PrivateTest, {judge} (rows: label, columns: prediction)

{confusion_table}

### Calibration

| split | ECE before | ECE after | NLL before | NLL after |
| --- | --- | --- | --- | --- |
{calibration_rows}

ECE with 15 bins of equal width; after dividing by the temperature.

![Accuracy against confidence on PrivateTest]({name}.reliability.png)

{seeds_section}{robustness_section}{forms_section}## What it is for, and what not

It describes the *apparent expression* of a face in a photograph. It does not tell what a person feels, means or is
like. Meant for research, for accessibility aids and creative tools that people choose to use, and for statistics
over many consenting people.

Not for decisions about persons: hiring, credit, insurance, policing, health, education. The EU AI Act (Regulation
2024/1689) prohibits inferring emotions of people at work and in education (Article 5(1)(f)), and elsewhere treats
emotion recognition as high-risk and asks that people be told (Article 50). Whoever deploys this answers for that.

## Known failures

- Disgust has {disgust_images} training images: it is often taken for anger. Fear is taken for sadness or
  anger.
- Neutral faces of people with strong features are called sad or angry; the labels themselves do so.
- FER2013 was gathered by web search in 2013. How well the model does for people of different ages, skin tones and
  cultures is not known, because the dataset does not say who is in it.
- Profiles, covered faces, drawings, low light and crops that are not framed like FER2013 lower the accuracy.

## Licence

FER2013 is research data gathered from the web; its images are not part of this repository. The golden vectors
beside the model are means of at least 8 faces each. Check your own right to use weights that were trained on it.

## Make it again

```
{commands}
```
"""


_JUDGES = {"original": "FER2013's labels", "crowd": "the crowd's labels"}
_LEARNED = {
    "original": "The network learned FER2013's own labels",
    "crowd": "The network learned what ten people each saw in every image (FER+, soft targets)",
}
_WITH_OTHER_HEAD = {
    "original": ", beside a second head for the crowd's votes (FER+) on the same images, which is not in this file.",
    "crowd": ", beside a second head for FER2013's own labels, which is not in this file.",
}
_CROWD_TEXT = """### Against the crowd's majority label (FER+)

{table}

Ten people each said what they see; an image counts if more than half of them, single votes left out, agree on one of
the seven emotions. They agree with FER2013's own label on 62 % of the images.

"""
_ROBUSTNESS_TEXT = """### What disturbances cost, PrivateTest, {judge}

| disturbance | accuracy | points lost |
| --- | --- | --- |
{rows}

"""


_SEEDS_TEXT = """### What the seed alone is worth

Runs of `{recipe}` ({widths} channels, {epochs} epochs in the last run of its chain) that differ in nothing but their
seed, each measured as the figures above:

{table}

"""
_FORMS_TEXT = """### The same network in other files

| file | arithmetic | size | PublicTest | PrivateTest | one face | of {batch} faces, each |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Accuracy against {judge}; times are medians on one core of {processor}, through the session that serves.

"""


@dataclass(frozen=True)
class Form:
    """One file of a network, of some precision."""

    manifest: Manifest
    size_bytes: int


def forms_of(model_path: Path) -> list[Form]:
    """The files beside a model, itself among them, that came of the same training; in the order of their names."""
    provenance = load_manifest(model_path).provenance
    forms = []
    for path in sorted(model_path.parent.glob("*.onnx")):
        manifest = load_manifest(path)
        if manifest.provenance == provenance:
            forms.append(Form(manifest, path.stat().st_size))
    return forms


def write_card(model_path: Path, to: Path, seeds_path: Path | None = None) -> None:
    """Writes the card and, beside it, the reliability diagram that it shows.

    Args:
        model_path: The ONNX file; the other files of its network in the same folder are compared with it.
        to: The Markdown file.
        seeds_path: What `python -m training seeds` wrote, if it did.

    Raises:
        TrainingError: As `model_card`.
        ManifestError: The model's files do not fit each other.
    """
    manifest = load_manifest(model_path)
    seeds = None
    if seeds_path is not None and seeds_path.exists():
        seeds = json.loads(seeds_path.read_text(encoding="utf-8"))
    write_text(to, model_card(manifest, forms_of(model_path), seeds))
    private = _figures(manifest)[Split.PRIVATE_TEST]
    title = f"{manifest.contract.name} {manifest.contract.version}, PrivateTest"
    plots.plot_reliability(private, title, to.with_name(f"{manifest.contract.name}.reliability.png"))


def model_card(manifest: Manifest, forms: Sequence[Form] = (), seeds: Mapping[str, Any] | None = None) -> str:
    """The card as Markdown.

    Args:
        manifest: With metrics of PrivateTest.
        forms: All files of this network; where at least two were timed, they are compared.
        seeds: As `training.studies.seeds.measure_seeds` gives it; shown where it is of this network's
            recipe, or of that recipe at half the width.

    Raises:
        TrainingError: PrivateTest was not measured yet.
    """
    contract, provenance, config = manifest.contract, manifest.provenance, manifest.provenance.config
    if Split.PRIVATE_TEST not in manifest.metrics:
        raise TrainingError("the manifest has no figures of PrivateTest: run `python -m training evaluate` first")
    figures, judge = _figures(manifest), _JUDGES[provenance.learned_labels]
    private = figures[Split.PRIVATE_TEST]
    return _TEMPLATE.format(
        name=contract.name,
        version=contract.version,
        widths="-".join(map(str, config["model"]["widths"])),
        convolutions=config["model"]["convolutions_per_stage"],
        labels=", ".join(contract.labels),
        temperature=contract.temperature,
        sha256=manifest.sha256,
        preprocess_id=contract.preprocess_id,
        seed=provenance.seed,
        epochs=config["epochs"],
        wall_min=provenance.wall_s / 60,
        hardware=provenance.hardware["accelerator"] or provenance.hardware["processor"],
        commit=provenance.commit,
        training_images=provenance.dataset["counts"]["Training"],
        dataset_sha256=provenance.dataset["sha256"][:16],
        votes=" and the crowd's votes for these (FER+)" if config.get("crowd") else "",
        learned=_LEARNED[provenance.learned_labels]
        + (_WITH_OTHER_HEAD[provenance.learned_labels] if config.get("crowd") else "."),
        accuracy_table=_accuracy_table(manifest.metrics),
        crowd_section=_CROWD_TEXT.format(table=_accuracy_table(manifest.crowd_metrics))
        if manifest.crowd_metrics
        else "",
        judge=judge,
        robustness_section=_ROBUSTNESS_TEXT.format(judge=judge, rows=_robustness_rows(manifest, private))
        if manifest.robustness
        else "",
        seeds_section=_seeds_section(seeds, manifest.provenance),
        forms_section=_forms_section(forms, judge),
        commands=_commands(manifest, forms),
        class_table=_class_table(private),
        confusion_table=_confusion_table(private),
        calibration_rows="\n".join(
            f"| {split} | {row.ece_before_temperature:.3f} | {row.ece:.3f} | {row.nll_before_temperature:.3f}"
            f" | {row.nll:.3f} |"
            for split, row in figures.items()
        ),
        disgust_images=EXPECTED_COUNTS[Split.TRAINING][LABELS.index("disgust")],
        arithmetic=contract.precision,
        history=_history(config),
    )


def _chain(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The configs of the runs that led to one, the first of them first, itself last."""
    first = config.get("start_config")
    return [*(_chain(first) if first else []), config]


def _history(config: Mapping[str, Any]) -> str:
    """What a run borrowed from others, as sentences."""
    runs = _chain(config)[::-1]
    sentences = ""
    for run, first in zip_longest(runs, runs[1:]):
        subject, its = ("It", "its") if run is config else ("That one", f"`{run['name']}`'s")
        if first is not None:
            sentences += (
                f" {subject} started from the weights of the run `{first['name']}`"
                f" ({first['epochs']} epochs, seed {first['seed']}), whose minutes are counted above."
            )
            if "restored_from" in first:
                sentences += " They were taken from its exported file, its normalisations measured anew on Training."
        if teachers := run.get("teachers"):
            names = ", ".join(f"`{Path(teacher).name}`" for teacher in teachers["runs"])
            sentences += (
                f" A share of {teachers['share']} of {its} targets were the answers of {names}, the rest the labels."
            )
    return sentences


def _commands(manifest: Manifest, forms: Sequence[Form]) -> str:
    config, data = manifest.provenance.config, "--data fer2013.zip"
    lines = [
        f"python -m training train --config training/configs/{each['name']}.toml --seed {each['seed']} {data}"
        for each in _chain(config)
    ]
    contracts = [form.manifest.contract for form in forms] or [manifest.contract]
    head = " --head crowd" if manifest.provenance.learned_labels == "crowd" else ""
    lines += [
        f"python -m training export runs/{config['name']}-seed{manifest.provenance.seed} {data}"
        f" --to models/{contract.name}.onnx --precision {contract.precision}{head}"
        for contract in contracts
    ]
    lines += [
        f"python -m training evaluate models/{contract.name}.onnx --split PublicTest --split PrivateTest --time {data}"
        for contract in contracts
    ]
    name = manifest.contract.name
    place = (
        "" if name == _DEFAULT_MODEL else f" --to models/{name}.md"
    )  # without it, the default model's card is written
    return "\n".join([*lines, f"python -m training card models/{name}.onnx{place}"])


def _forms_section(forms: Sequence[Form], judge: str) -> str:
    timed = [(form, form.manifest.latency) for form in forms if form.manifest.latency is not None]
    if len(timed) <= 1:
        return ""
    first = timed[0][1]
    batch = max(first.ms_by_batch)
    rows = []
    for form, latency in timed:
        contract = form.manifest.contract
        figures = _figures(form.manifest)
        accuracies = " | ".join(
            f"{figures[split].accuracy:.2%}" if split in figures else ""
            for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST)
        )
        rows.append(
            f"| `{contract.name}.onnx` | {contract.precision} | {form.size_bytes / 1e6:.1f} MB | {accuracies}"
            f" | {latency.ms_by_batch[1]:.2f} ms | {latency.ms_by_batch[batch]:.2f} ms |"
        )
    return _FORMS_TEXT.format(batch=batch, rows="\n".join(rows), judge=judge, processor=first.processor)


def _seeds_section(seeds: Mapping[str, Any] | None, provenance: Provenance) -> str:
    recipe = provenance.config["name"]
    if seeds is None or provenance.learned_labels != "original" or seeds["recipe"] not in (recipe, f"{recipe}_half"):
        return ""
    return _SEEDS_TEXT.format(
        recipe=seeds["recipe"], widths="-".join(map(str, seeds["widths"])), epochs=seeds["epochs"], table=table(seeds)
    )


def _figures(manifest: Manifest) -> Mapping[str, SplitMetrics]:
    """By split, against the labels that the network learned."""
    return manifest.crowd_metrics if manifest.provenance.learned_labels == "crowd" else manifest.metrics


def _robustness_rows(manifest: Manifest, undisturbed: SplitMetrics) -> str:
    return "\n".join(
        f"| {disturbance} | {accuracy:.2%} | {(undisturbed.accuracy - accuracy) * 100:.1f} |"
        for disturbance, accuracy in manifest.robustness.items()
    )


def _accuracy_table(figures: Mapping[str, SplitMetrics]) -> str:
    lines = [
        "| split | images | accuracy | 95 % interval | without twins | macro F1 | macro precision | macro recall |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for split, row in figures.items():
        low, high = row.accuracy_interval
        without = row.accuracy_without_training_twins
        lines.append(
            f"| {split} | {row.images} | **{row.accuracy:.2%}** | {low:.2%} to {high:.2%}"
            f" | {'' if without is None else f'{without:.2%}'} | {row.macro_f1:.3f} | {row.macro_precision:.3f}"
            f" | {row.macro_recall:.3f} |"
        )
    return "\n".join(lines)


def _class_table(metrics: SplitMetrics) -> str:
    lines = ["| emotion | precision | recall | F1 | images |", "| --- | --- | --- | --- | --- |"]
    for label, row in metrics.per_class.items():
        lines.append(f"| {label} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |")
    return "\n".join(lines)


def _confusion_table(metrics: SplitMetrics) -> str:
    lines = ["| | " + " | ".join(LABELS) + " |", "| --- |" + " --- |" * len(LABELS)]
    for label, row in zip(LABELS, metrics.confusion, strict=True):
        lines.append(f"| **{label}** | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)
