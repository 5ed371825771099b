"""How much accuracy the way through a photograph costs: `python -m benchmarks.end_to_end`.

PrivateTest faces are enlarged, set on 640x480 canvases and sent through `POST /predict`; the same faces are sent as
they are with `detect=false`. Haar finds frontal faces; FER2013 also has profiles, hands before faces and drawings, so
the figures are given for the faces that were found (a box overlaps the face, IoU >= 0.5), and with every face that
was not found counted as wrong. The last row trusts the largest box of each answer, right or false, as callers do.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from app.config import Settings
from app.contract.labels import LABELS
from app.domain import FaceBox
from app.inference.session import EmotionSession
from app.main import create_app
from tests.support.scenes import SAME_FACE, Grey, single_face_scene
from training.data.fer2013 import Split, load_fer2013
from training.evaluation.metrics import wilson_interval


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, default=Path("models/fer_vgg.onnx"))
    parser.add_argument("--faces", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    archive = arguments.data / "fer2013.zip"
    if not archive.exists():
        print(f"expected {archive}: name its folder with --data", file=sys.stderr)
        return 2
    split = load_fer2013(archive)[Split.PRIVATE_TEST]
    generator = np.random.default_rng(arguments.seed)
    chosen = generator.permutation(len(split.labels))[: arguments.faces]
    settings = Settings(model=arguments.model, deadline_ms=60_000, log_format="text")
    session = EmotionSession(arguments.model, "cpu", threads=2)
    found, right_alone, right_in_photo, answered, right_at_top = [], [], [], [], []
    with TestClient(create_app(settings, session)) as client:
        for index in chosen:
            face, label = split.images[index, :, :, 0], LABELS[split.labels[index]]
            scene, box = single_face_scene(face, generator)
            alone = client.post("/predict?detect=false", content=png(face)).json()
            in_photo = client.post("/predict", content=png(scene)).json()
            matching = [entry for entry in in_photo["faces"] if box.overlap(FaceBox(**entry["box"])) >= SAME_FACE]
            found.append(bool(matching))
            right_alone.append(alone["emotion"] == label)
            right_in_photo.append(bool(matching) and matching[0]["emotion"] == label)
            answered.append(bool(in_photo["faces"]))
            right_at_top.append(in_photo["emotion"] == label)
    report(*map(np.array, (found, right_alone, right_in_photo, answered, right_at_top)))
    return 0


def png(pixels: Grey) -> bytes:
    """The picture as a file, without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def report(
    found: np.ndarray,
    right_alone: np.ndarray,
    right_in_photo: np.ndarray,
    answered: np.ndarray,
    right_at_top: np.ndarray,
) -> None:
    """Prints a Markdown table of shares with their 95 % intervals."""
    rows = {
        "faces found in the photograph": found,
        "accuracy, found faces, `detect=false`": right_alone[found],
        "accuracy, found faces, through the photograph": right_in_photo[found],
        "accuracy, all faces, `detect=false`": right_alone,
        "accuracy, all faces, through the photograph (not found counts as wrong)": right_in_photo,
        "accuracy of the largest box, photographs with any box": right_at_top[answered],
    }
    print("| figure | share | 95 % interval | faces |\n| --- | --- | --- | --- |")
    for name, hits in rows.items():
        low, high = wilson_interval(int(hits.sum()), len(hits))
        print(f"| {name} | {hits.mean():.1%} | {low:.1%} to {high:.1%} | {len(hits)} |")
    difference = right_alone[found].mean() - right_in_photo[found].mean()
    print(f"\nThe way through the photograph costs {100 * difference:+.1f} points on the faces found.")


if __name__ == "__main__":
    sys.exit(main())
