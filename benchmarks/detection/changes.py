"""Changed copies of pictures with known faces: turned, darker, smaller, long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from app.domain import FaceBox
from benchmarks.detection.cases import Case, LabelledFace, centre

_UPRIGHT_DEGREES = 7  # largest roll of a face that counts as upright before it is turned
_AVATAR_SIDE = 2.2  # side of an avatar, as a share of the face's height
_PORTRAIT_SIDE = 3.0
_TILES = 7  # rows and columns of a gallery


def turned(cases: Iterable[Case], degrees: float) -> Iterator[Case]:
    """Yield the pictures, turned clockwise on a larger black canvas. Faces that are not upright before are optional."""
    for case in cases:
        height, width = case.image.shape[:2]
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        size = round(width * abs(cos) + height * abs(sin)), round(width * abs(sin) + height * abs(cos))
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        matrix[:, 2] = np.array(size) / 2 - matrix[:, :2] @ (width / 2, height / 2)
        image = np.asarray(cv2.warpAffine(case.image, matrix, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)
        moved = [(face, _moved(face.box, matrix)) for face in case.faces]
        upright = tuple(
            LabelledFace(box, face.roll_degrees + degrees)
            for face, box in moved
            if abs(face.roll_degrees) <= _UPRIGHT_DEGREES
        )
        rest = [box for face, box in moved if abs(face.roll_degrees) > _UPRIGHT_DEGREES]
        yield Case(case.name, image, upright, (*rest, *(_moved(box, matrix) for box in case.optional)))


def _moved(box: FaceBox, matrix: np.ndarray) -> FaceBox:
    """Return an upright square with the height of a box around its moved centre."""
    x, y = matrix @ (*centre(box), 1.0)
    return FaceBox(round(x - box.height / 2), round(y - box.height / 2), box.height, box.height)


def with_levels(cases: Iterable[Case], gain: float, offset: float = 0.0) -> Iterator[Case]:
    """Yield the pictures with changed levels."""
    levels = np.arange(256) * gain + offset
    return _with_table(cases, levels)


def exposed(cases: Iterable[Case], exposure: float) -> Iterator[Case]:
    """Yield the pictures with less light: the linear light of the sRGB levels is multiplied by `exposure`."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4) * exposure
    levels = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    return _with_table(cases, levels)


def _with_table(cases: Iterable[Case], levels: np.ndarray) -> Iterator[Case]:
    table = np.round(levels).clip(0, 255).astype(np.uint8)
    for case in cases:
        yield replace(case, image=np.asarray(cv2.LUT(case.image, table), dtype=np.uint8))


def avatars(cases: Iterable[Case], side_px: int, widths: float = _AVATAR_SIDE) -> Iterator[Case]:
    """Yield a square of `widths` face heights around each upright face, scaled down to a side of `side_px`.

    Faces whose square has fewer pixels are left out, because enlarging would not test a small picture.
    """
    for case in cases:
        for face in case.faces:
            side = min(round(face.box.height * widths), *case.image.shape[:2])
            if side >= side_px and abs(face.roll_degrees) <= _UPRIGHT_DEGREES:
                yield _cut(case, face, side, side_px)


def _cut(case: Case, face: LabelledFace, side: int, side_px: int) -> Case:
    height, width = case.image.shape[:2]
    x, y = centre(face.box)
    left = min(max(round(x - side / 2), 0), width - side)
    top = min(max(round(y - side / 2), 0), height - side)
    scale = side_px / side
    part = case.image[top : top + side, left : left + side]
    image = np.asarray(cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    box, *others = (
        _scaled(other, left, top, scale) for other in (face.box, *(f.box for f in case.faces if f is not face))
    )
    others += [_scaled(place, left, top, scale) for place in case.optional]
    return Case(case.name, image, (LabelledFace(box, face.roll_degrees),), tuple(others))


def _scaled(box: FaceBox, left: int, top: int, scale: float) -> FaceBox:
    return FaceBox(
        *(round(value * scale) for value in (box.x - left, box.y - top)),
        *(max(1, round(value * scale)) for value in (box.width, box.height)),
    )


def long_pictures(cases: Sequence[Case], is_wide: bool) -> Iterator[Case]:
    """Yield long screenshots of 900x9000 pixels, or panoramas of 9000x900, with four portraits of 300 px each."""
    portraits = list(avatars(cases, 300, _PORTRAIT_SIDE))
    for start in range(0, len(portraits) - 3, 4):
        places = [(300, 500 + 2200 * index) for index in range(4)]
        yield _sheet(portraits[start : start + 4], (9000, 900), places, is_wide)


def galleries(cases: Sequence[Case]) -> Iterator[Case]:
    """Yield galleries of a video call: 1920x1080 pixels, 49 tiles with one portrait each, faces of about 50 px."""
    portraits = list(avatars(cases, 150, _PORTRAIT_SIDE))
    places = [(4 + 154 * row, 60 + 260 * column) for row in range(_TILES) for column in range(_TILES)]
    for start in range(0, len(portraits), 16):
        chosen = [portraits[(start + index) % len(portraits)] for index in range(len(places))]
        yield _sheet(chosen, (1080, 1920), [(x, y) for y, x in places], False)


def _sheet(tiles: Sequence[Case], shape: tuple[int, int], places: Sequence[tuple[int, int]], transpose: bool) -> Case:
    """Return one picture with tiles whose left and top edges are `places`; `transpose` exchanges both axes."""
    if transpose:
        shape, places = shape[::-1], [(y, x) for x, y in places]
    image = np.full((*shape, *tiles[0].image.shape[2:]), 230, dtype=np.uint8)
    faces, optional = [], []
    for tile, (x, y) in zip(tiles, places, strict=True):
        height, width = tile.image.shape[:2]
        image[y : y + height, x : x + width] = tile.image
        faces += [replace(face, box=_scaled(face.box, -x, -y, 1)) for face in tile.faces]
        optional += [_scaled(box, -x, -y, 1) for box in tile.optional]
    return Case("sheet", image, tuple(faces), tuple(optional))
