"""Accuracy through the whole pipeline: `python -m benchmarks.end_to_end`. Prints a Markdown table.

The program enlarges PrivateTest faces, pastes them into 640x480 scenes and sends these to `POST /predict`. It also
sends the same faces unchanged with `detect=false`. Haar detection finds frontal faces, but FER2013 also has profiles,
faces behind hands and drawings. So the table gives the accuracy for the detected faces (a box overlaps the face with
IoU >= 0.5), and for all faces, where a face that was not detected counts as wrong. The last row uses the largest box of
each response, right or false, as most callers do.
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
from tests.support.paths import REPOSITORY, SHARED_DATA
from tests.support.scenes import SAME_FACE, Grey, single_face_scene
from training.data.fer2013 import Split, load_fer2013
from training.evaluation.metrics import wilson_interval


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models" / "fer_vgg.onnx")
    parser.add_argument("--faces", type=int, default=1000, help="number of faces (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    archive = arguments.data / "fer2013.zip"
    if not archive.exists():
        print(f"{archive} does not exist; name its folder with --data", file=sys.stderr)
        return 2
    split = load_fer2013(archive)[Split.PRIVATE_TEST]
    generator = np.random.default_rng(arguments.seed)
    chosen = generator.permutation(len(split.labels))[: arguments.faces]
    settings = Settings(model=arguments.model, deadline_ms=60_000, log_format="text")
    session = EmotionSession(arguments.model, "cpu", threads=2)
    detected, right_as_crop, right_in_scene, answered, right_largest = [], [], [], [], []
    with TestClient(create_app(settings, session)) as client:
        for index in chosen:
            face, label = split.images[index, :, :, 0], LABELS[split.labels[index]]
            scene, box = single_face_scene(face, generator)
            as_crop = client.post("/predict?detect=false", content=png(face)).json()
            in_scene = client.post("/predict", content=png(scene)).json()
            matching = [entry for entry in in_scene["faces"] if box.overlap(FaceBox(**entry["box"])) >= SAME_FACE]
            detected.append(bool(matching))
            right_as_crop.append(as_crop["emotion"] == label)
            right_in_scene.append(bool(matching) and matching[0]["emotion"] == label)
            answered.append(bool(in_scene["faces"]))
            right_largest.append(in_scene["emotion"] == label)
    report(*map(np.array, (detected, right_as_crop, right_in_scene, answered, right_largest)))
    return 0


def png(pixels: Grey) -> bytes:
    """Return an image as a lossless file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def report(
    detected: np.ndarray,
    right_as_crop: np.ndarray,
    right_in_scene: np.ndarray,
    answered: np.ndarray,
    right_largest: np.ndarray,
) -> None:
    """Print a Markdown table of shares with their 95 % intervals."""
    rows = {
        "faces detected in the scene": detected,
        "accuracy, detected faces, `detect=false`": right_as_crop[detected],
        "accuracy, detected faces, in the scene": right_in_scene[detected],
        "accuracy, all faces, `detect=false`": right_as_crop,
        "accuracy, all faces, in the scene (not detected counts as wrong)": right_in_scene,
        "accuracy of the largest box, scenes with any box": right_largest[answered],
    }
    print("| figure | share | 95 % interval | faces |\n| --- | --- | --- | --- |")
    for name, hits in rows.items():
        low, high = wilson_interval(int(hits.sum()), len(hits))
        print(f"| {name} | {hits.mean():.1%} | {low:.1%} to {high:.1%} | {len(hits)} |")
    difference = right_as_crop[detected].mean() - right_in_scene[detected].mean()
    print(f"\nAccuracy lost by detection and cropping: {100 * difference:+.1f} points on the detected faces.")


if __name__ == "__main__":
    sys.exit(main())
