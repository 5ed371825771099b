"""Draw `docs/images/expressions.png`: the mean face of every emotion with the scores of the served model.

A mean face averages all PrivateTest images of one label, so that no person can be recognised in it. Run from the root
of the repository with the environment of `make test`:

    .venv-dev/bin/python -m docs.images.make_expressions --data path/to/fer2013.zip
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.scores import probabilities
from app.inference.session import EmotionSession
from training.data.fer2013 import Split, SplitData, load_fer2013

_OUTPUT = Path(__file__).parent / "expressions.png"
_MIN_CONTRAST = 5.0  # grey levels; FER2013 contains a few images of a single grey level
_CLIPPED_PERCENT = 0.5  # of the darkest and of the brightest pixels when the contrast is stretched
_TOP_COLOUR, _OTHER_COLOUR = "#4f46e5", "#c7cad6"


def mean_face(split: SplitData, code: int) -> npt.NDArray[np.uint8]:
    """Return the mean of all images of one label, stretched to the full range of grey levels.

    Args:
        split: The images and their labels.
        code: FER2013 code of the label: an index into `LABELS`.

    Returns:
        uint8 (48, 48, 1). Every image is scaled to mean 0 and standard deviation 1 before the mean is taken, so that
        dark and bright photographs weigh the same.
    """
    images = split.images[split.labels == code].astype(np.float64)
    deviations = images.std(axis=(1, 2, 3), keepdims=True)
    normalised = (images - images.mean(axis=(1, 2, 3), keepdims=True)) / np.maximum(deviations, _MIN_CONTRAST)
    mean = normalised.mean(axis=0)
    darkest, brightest = np.percentile(mean, (_CLIPPED_PERCENT, 100 - _CLIPPED_PERCENT))
    return np.asarray(np.clip((mean - darkest) / (brightest - darkest), 0, 1) * 255).round().astype(np.uint8)


def draw(faces: npt.NDArray[np.uint8], scores: npt.NDArray[np.float64], path: Path) -> None:
    """Write one column for each face: the face above its seven scores.

    Args:
        faces: uint8 (7, 48, 48, 1), in label order.
        scores: float64 (7, 7), 0 to 1; row i holds the scores of face i.
        path: PNG file to write.
    """
    figure, axes = plt.subplots(2, len(LABELS), figsize=(11, 3.4), height_ratios=(1, 0.9), layout="constrained")
    for column, (label, face, row) in enumerate(zip(LABELS, faces, scores, strict=True)):
        above, below = axes[0, column], axes[1, column]
        above.imshow(face[..., 0], cmap="gray", interpolation="bicubic")
        above.set_title(f"label: {label}", fontsize=10)
        above.axis("off")
        top = int(row.argmax())
        below.barh(range(len(LABELS)), row, color=[_TOP_COLOUR if i == top else _OTHER_COLOUR for i in range(len(row))])
        below.text(row[top] + 0.03, top, f"{row[top]:.0%}", va="center", fontsize=8)
        below.set_yticks(range(len(LABELS)), LABELS if column == 0 else [], fontsize=8)
        below.set(xlim=(0, 1.2), xticks=[])
        below.invert_yaxis()
        below.spines[["top", "right", "bottom"]].set_visible(False)
        below.tick_params(length=0)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Average the faces, run the shipped model on them and write the picture."""
    parser = argparse.ArgumentParser(prog="python -m docs.images.make_expressions", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/fer2013.zip"), help="FER2013 as a .zip file")
    parser.add_argument("--model", type=Path, default=Path("models/fer_vgg.onnx"))
    arguments = parser.parse_args()
    split = load_fer2013(arguments.data)[Split.PRIVATE_TEST]
    faces = np.stack([mean_face(split, code) for code in range(len(LABELS))])
    session = EmotionSession(arguments.model, "cpu", threads=1)
    draw(faces, probabilities(session.logits(faces), session.manifest.contract.temperature), _OUTPUT)


if __name__ == "__main__":
    main()
