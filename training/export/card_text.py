"""Texts of the model card. `training.export.card` fills in the placeholders."""

from __future__ import annotations

from app.contract.manifest import Contract

TEMPLATE = """\
# Model card: {name} {version}

`python -m training card` writes this file from `{name}.manifest.json`. `python -m training evaluate` measured every
figure on `{name}.onnx`, with the session that the service uses.

## Model

A VGG-style convolutional network: {widths} channels, {convolutions} convolutions (3x3) per stage, global average
pooling.
It classifies one 48x48 grey face crop as {labels}.

| | |
| --- | --- |
| file | `{name}.onnx` ({precision}), sha256 `{sha256}` |
| preprocessing | `{preprocess_id}` |
| input | `image` uint8 (N, 48, 48, 1), raw grey levels |
| output | `logits` float32 (N, 7); `softmax(logits / {temperature})` gives calibrated probabilities |
| training data | FER2013, Training split: {training_images:,} images; sha256 of the decoded images `{dataset_sha256}` |
| labels | {labels_text} |
| training | seed {seed}, {epochs} epochs; {wall_min:.0f} minutes on {hardware}{all_runs} |
| code | commit `{commit}` |

The epoch and the temperature were chosen on PublicTest. Nothing was chosen on PrivateTest.

{runs_section}## Accuracy

### FER2013's own labels

{accuracy_table}

"Without duplicates" leaves out test images that are exact duplicates of Training images. People agree with these labels
on about 65 % of the images, so differences of one or two points are within the noise of the labels.

{annotator_section}### By emotion, PrivateTest, {label_set}

{class_table}

### Confusion matrix, PrivateTest, {label_set}

Rows are true labels, columns are predictions.

{confusion_table}

### Calibration

Expected calibration error (ECE, 15 bins of equal width) and negative log-likelihood (NLL), before and after division of
the logits by the temperature.

| split | ECE before | ECE after | NLL before | NLL after |
| --- | ---: | ---: | ---: | ---: |
{calibration_rows}

![Accuracy against confidence on PrivateTest]({name}.reliability.png)

{sets_section}{seeds_section}{robustness_section}{files_section}{plain}{intended_use}## Known limitations

- Disgust has only {disgust_images} training images and is often confused with anger. Fear is often confused with
  sadness or anger.
- Neutral faces with strong features are often classified as sad or angry. The labels contain the same error.
- FER2013 was collected by web search in 2013 and has no data about age, skin tone or culture. The accuracy for
  different groups of people is therefore unknown.
- Profiles, occluded faces, drawings, low light and crops that are framed differently from FER2013 lower the accuracy.

## Licence

FER2013 is research data collected from the web. Its images are not part of this repository: the golden vectors contain
mean faces of at least 8 images each. Check your own right to use weights that were trained on this data.

## Reproduce

```sh
{commands}
```
"""

LABEL_SETS = {"original": "FER2013's own labels", "annotators": "majority label of the annotators"}

LABELS_TEXT = {
    "original": "FER2013's own labels",
    "annotators": "annotator votes (FER+): the votes of ten people per image, as soft labels",
}
OTHER_HEAD_TEXT = {
    "original": "; a second head, which is not in this file, was trained on the annotator votes (FER+)",
    "annotators": "; a second head, which is not in this file, was trained on FER2013's own labels",
}

RUNS_SECTION = """\
### Training runs

The network is the result of several runs. The last row is this model.

| run | epochs | seed | initial weights | targets |
| --- | ---: | ---: | --- | --- |
{rows}

"""

ANNOTATOR_SECTION = """\
### Majority label of the annotators (FER+)

{table}

Ten people labelled each image. An image counts if more than half of the votes, without single votes, are for one of the
seven emotions. This majority label equals FER2013's own label on 62 % of the images.

"""

SETS_SECTION = """### Prediction sets, {label_set}

With `coverage` the service adds the smallest set of emotions that holds the label with this frequency (split conformal
prediction). PublicTest calibrates the thresholds, so its rows show the fit; PrivateTest shows new images. An emotion
has its own threshold where the coverage of all images permits it (class conditional), otherwise all share one
(marginal).

| coverage asked | split | thresholds | coverage | mean size | {labels} |
| ---: | --- | --- | ---: | ---: | {rule} |
{rows}

"""

ROBUSTNESS_SECTION = """\
### Robustness to corruptions, PrivateTest, {label_set}

| corruption | accuracy | loss in points |
| --- | ---: | ---: |
{rows}

"""

SEEDS_SECTION = """\
### Variation between seeds

Runs of `{recipe}` ({widths} channels, {epochs} epochs in the last run of each chain) that differ only in their seed:

{table}

"""

FILES_SECTION = """\
### Files of this network

| file | precision | size | PublicTest | PrivateTest | latency, batch of 1 | latency per face, batch of {batch} |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{rows}

Accuracy against {label_set}. Latencies are medians on one core of {processor}. Processors without AVX-512 VNNI are
slower, most of all with int8: see [Speed](../docs/training.md#speed).

"""

INTENDED_USE = """\
## Intended use

The model describes the *apparent expression* of a face in a photograph. It does not measure what a person feels, means
or is like. Intended uses are research, accessibility aids and creative tools that people choose to use, and statistics
over many people who gave their consent.

Do not use the model for decisions about persons, for example in hiring, credit, insurance, policing, health or
education. The EU AI Act (Regulation 2024/1689) prohibits emotion recognition at work and in education (Article
5(1)(f)). Elsewhere it treats emotion recognition as high-risk and requires that people are informed (Article 50). The
operator of the service is responsible for compliance.

"""

_PLAIN = """\
## Without this service

Eight lines run the model with `onnxruntime`, `opencv-python-headless` and `numpy`, for one cropped face:

```python
import cv2, numpy as np, onnxruntime as ort
labels = "{labels}".split()
session = ort.InferenceSession("{name}.onnx")
face = cv2.resize(cv2.imread("face.jpg", cv2.IMREAD_GRAYSCALE), (48, 48), interpolation=cv2.INTER_AREA)
(logits,) = session.run(["logits"], dict(image=face[np.newaxis, :, :, np.newaxis]))
scores = np.exp(logits[0] / {temperature})
scores /= scores.sum()
print(labels[scores.argmax()], scores.max())
```

The service also stretches crops of low contrast (standard deviation of the grey levels below 35). These lines do not,
so their scores of dark or hazy faces differ.

"""


def plain_onnxruntime(contract: Contract) -> str:
    """Return the section of a card with the lines that run the model without the service."""
    return _PLAIN.format(labels=" ".join(contract.labels), name=contract.name, temperature=contract.temperature)
