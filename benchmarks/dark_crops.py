"""Accuracy of dark and hazy crops: `python -m benchmarks.dark_crops --data ../shared/data`.

Prints a Markdown table: accuracy of a model on PublicTest by light, with and without the stretched contrast of
`app.contract.contrast`. PrivateTest is not used, because the constants were chosen with this table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from joblib import cpu_count

from app.contract.contrast import MIN_DEVIATION, with_min_contrast
from app.inference.session import EmotionSession
from tests.support.paths import SHARED_DATA
from training.data.fer2013 import Split, load_fer2013

# Gain and offset of the grey levels.
LIGHTS = [(gain, 0) for gain in (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.06)] + [(0.3, 150), (0.1, 200)]
_BATCH = 256

Images = npt.NDArray[np.uint8]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="folder with fer2013.zip")
    parser.add_argument("--model", type=Path, default=Path("models/fer_vgg.onnx"), help="(default: %(default)s)")
    arguments = parser.parse_args()
    session = EmotionSession(arguments.model, "cpu", threads=cpu_count())
    public = load_fer2013(arguments.data / "fer2013.zip")[Split.PUBLIC_TEST]
    low = float((public.images.std(axis=(1, 2, 3)) < MIN_DEVIATION).mean())
    print(
        f"{session.manifest.contract.name} on {len(public.labels)} crops of PublicTest, of which {low:.1%} have a"
        f" deviation below {MIN_DEVIATION:g}.\n\n"
        "| light | as it is | contrast stretched | called angry, as it is | called angry, stretched |\n"
        "| --- | --- | --- | --- | --- |"
    )
    for gain, offset in LIGHTS:
        crops = np.rint(public.images * gain + offset).clip(0, 255).astype(np.uint8)
        plain, stretched = (_predict(session, images) for images in (crops, with_min_contrast(crops)))
        cells = [f"{(predicted == public.labels).mean():.2%}" for predicted in (plain, stretched)]
        cells += [f"{(predicted == 0).mean():.1%}" for predicted in (plain, stretched)]
        print(f"| levels at {gain:g}{f' + {offset}' if offset else ''} | {' | '.join(cells)} |", flush=True)
    return 0


def _predict(session: EmotionSession, crops: Images) -> npt.NDArray[np.int64]:
    batches = [crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)]
    return np.concatenate([session.logits(batch).argmax(axis=1) for batch in batches])


if __name__ == "__main__":
    raise SystemExit(main())
