"""Fit YuNet's boxes to the framing of FER2013, and measure its roll: `python -m benchmarks.yunet_framing`.

Training faces of FER2013 are pasted on larger images at known places. The weights of the side are fitted to them by
least squares, without outliers. The first table compares the known squares with the service's boxes: sides, and
distances of the centres as shares of the side; the median and the quartiles. The second table turns the faces of
photographs and gives the median roll that landmarks show for each size of the face.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from app.domain import Detection, FaceBox
from app.vision.yunet import YuNet, YuNetDetector
from app.vision.yunet.faces import Face
from app.vision.yunet.framing import ROLL_GAIN, SIDE_WEIGHTS, features
from app.vision.yunet.views import Pyramid, around
from tests.support.paths import SHARED_DATA, YUNET
from tests.support.photographs import load_photographs
from tests.support.scenes import Grey, single_face_scene
from training.data.fer2013 import Split, load_fer2013

_TURNS = (-40, -30, -20, -10, 10, 20, 30, 40)
_FACE_SIDES_PX = (40, 80, 160, 240)
_MARGIN = 1.6
_FITTED_VIEW_PX = 256
_OUTLIER = 0.35  # of the logarithm of the side


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--model", type=Path, default=YUNET)
    parser.add_argument("--faces", type=int, default=1500)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    detector = YuNetDetector(arguments.model)
    network = YuNet(arguments.model)
    pairs = list(_pairs(detector, arguments.data / "fer2013.zip", arguments.faces))
    weights = _fit(network, [(scene, known) for scene, known, _ in pairs], detector)
    print(f"SIDE_WEIGHTS are {SIDE_WEIGHTS}; fitted: {', '.join(f'{weight:.2f}' for weight in weights)}.\n")
    print(f"{len(pairs)} of {arguments.faces} faces found.\n\n| | lower quartile | median | upper quartile |")
    print("| --- | --- | --- | --- |")
    sides = np.array([known.width / face.box.width for _, known, face in pairs])
    print(f"| side / reported side | {_quartiles(sides)} |")
    for name, axis in (("to the right", 0), ("downwards", 1)):
        shifts = np.array([(_centre(known)[axis] - _centre(face.box)[axis]) / known.width for _, known, face in pairs])
        print(f"| centre, {name} | {_quartiles(shifts)} |")
    rolls = np.array([face.roll_degrees or 0.0 for *_, face in pairs])
    print(f"| roll, degrees | {_quartiles(rolls)} |")
    print(f"\nROLL_GAIN is {ROLL_GAIN}. Median roll in degrees, divided by ROLL_GAIN:\n")
    _print_rolls(detector, network, arguments.data / "photos")


def _pairs(detector: YuNetDetector, archive: Path, count: int) -> Iterator[tuple[Grey, FaceBox, Detection]]:
    """Yield each canvas on which the face is found, the known square and the found face."""
    generator = np.random.default_rng(1)
    faces = load_fer2013(archive)[Split.TRAINING].images[:, :, :, 0]
    for index in generator.choice(len(faces), count, replace=False):
        scene, known = single_face_scene(faces[index], generator)
        found = [face for face in detector.detect(scene) if face.box.overlap(known) > 0.3]
        if found:
            yield scene, known, found[0]


def _fit(network: YuNet, scenes: Sequence[tuple[Grey, FaceBox]], detector: YuNetDetector) -> np.ndarray:
    """Return the weights of `framing.features` that fit the known squares, float64 (4,)."""
    inputs, sides = [], []
    for scene, known in scenes:
        face = max(detector._search(scene), key=lambda face: face.side)
        view = around(Pyramid(scene), face.centre, _MARGIN * face.side, face.roll, _FITTED_VIEW_PX)
        for box, landmarks, _ in network.find_raw(view.pixels, 0.3)[:1]:
            inputs.append(features(box[2], box[3], landmarks))
            sides.append(math.log(known.width / math.hypot(*view.to_image[:, 0]) / box[3]))
    table, wanted = np.array(inputs), np.array(sides)
    kept = np.ones(len(wanted), dtype=bool)
    for _ in range(5):
        weights = np.linalg.lstsq(table[kept], wanted[kept])[0]
        kept = np.abs(wanted - table @ weights) < _OUTLIER
    return np.asarray(weights)


def _print_rolls(detector: YuNetDetector, network: YuNet, photos: Path) -> None:
    print(f"| turn | {' | '.join(f'face of {side} px' for side in _FACE_SIDES_PX)} |")
    print(f"| --- |{' --- |' * len(_FACE_SIDES_PX)}")
    upright = [
        (Pyramid(photo.grey), face) for photo in load_photographs(photos) for face in detector._search(photo.grey)
    ]
    for turn in _TURNS:
        cells = []
        for side in _FACE_SIDES_PX:
            rolls = [_roll_in_view(network, pyramid, face, turn, side) for pyramid, face in upright]
            known = [math.degrees(roll) / ROLL_GAIN for roll in rolls if roll is not None]
            cells.append(f"{np.median(known):.0f}")
        print(f"| {turn} | {' | '.join(cells)} |", flush=True)


def _roll_in_view(network: YuNet, pyramid: Pyramid, face: Face, turn: float, side_px: int) -> float | None:
    """Return the roll of a face that is upright but for a turn, found at a size; None if it is not found."""
    size = round(_MARGIN * side_px)
    view = around(pyramid, face.centre, _MARGIN * face.side, face.roll - math.radians(turn), size)
    found = network.find(view.pixels, 0.2)
    return found[0].roll if found else None


def _centre(box: FaceBox) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _quartiles(values: np.ndarray) -> str:
    return " | ".join(f"{value:.3f}" for value in np.percentile(values, (25, 50, 75)))


if __name__ == "__main__":
    main()
