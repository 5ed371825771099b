"""Writes the model card from the manifest, so that no figure in it is copied by hand."""

from __future__ import annotations

from collections.abc import Mapping

from app.contract.labels import LABELS
from app.contract.manifest import Manifest, SplitMetrics
from training.data import EXPECTED_COUNTS, Split
from training.errors import TrainingError

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
| file | `{name}.onnx`, sha256 `{sha256}` |
| preprocessing | `{preprocess_id}` |
| trained | seed {seed}, {epochs} epochs, {wall_min:.0f} minutes on {hardware} |
| code | commit `{commit}` |
| data | FER2013, Training split only ({training_images} images; sha256 of the decoded set `{dataset_sha256}`){votes} |

{learned} The epoch and the temperature were chosen on PublicTest. PrivateTest chose nothing.

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

{robustness_section}## What it is for, and what not

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
python -m training train --config training/configs/{config_name}.toml --data fer2013.zip
python -m training export runs/{config_name}-seed{seed} --data fer2013.zip --to models/{name}.onnx{head_option}
python -m training evaluate models/{name}.onnx --split PublicTest --split PrivateTest --data fer2013.zip
python -m training card models/{name}.onnx
```
"""


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


def model_card(manifest: Manifest) -> str:
    """The card as Markdown.

    Args:
        manifest: With metrics of PrivateTest.

    Raises:
        TrainingError: PrivateTest was not measured yet.
    """
    contract, provenance, config = manifest.contract, manifest.provenance, manifest.provenance.config
    if Split.PRIVATE_TEST not in manifest.metrics:
        raise TrainingError("the manifest has no figures of PrivateTest: run `python -m training evaluate` first")
    crowd = provenance.learned_labels == "crowd"
    figures, judge = (manifest.crowd_metrics, "the crowd's labels") if crowd else (manifest.metrics, "FER2013's labels")
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
        head_option=" --head crowd" if crowd else "",
        class_table=_class_table(private),
        confusion_table=_confusion_table(private),
        calibration_rows="\n".join(
            f"| {split} | {row.ece_before_temperature:.3f} | {row.ece:.3f} | {row.nll_before_temperature:.3f}"
            f" | {row.nll:.3f} |"
            for split, row in figures.items()
        ),
        disgust_images=EXPECTED_COUNTS[Split.TRAINING][LABELS.index("disgust")],
        config_name=config["name"],
    )


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
