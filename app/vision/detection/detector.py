"""Finds frontal faces: cheap looks propose where, a Haar cascade looks closely there and decides. Boxes out, no crops.

A first look, in glances from coarse to fine, goes no finer than the largest face that it finds makes worthwhile. Only
where it leaves a doubt does a second, closer look follow, down to faces of a third of the largest one. Every proposal
is then searched again from the full image, at one scale of face and in fine steps, which costs little, takes false
hits out, and frames the face more evenly than the search of a whole image does (`python -m benchmarks.end_to_end`
measures what that is worth to the network).

`python -m benchmarks.detection` judges the constants; docs/detection.md has its tables and how they were chosen.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox

HAAR_CASCADE = "haarcascade_frontalface_alt2.xml"
# Asked about the least sure faces: trained apart from the other, it seldom mistakes the same thing for a face.
SECOND_OPINION_CASCADE = "haarcascade_frontalface_alt.xml"
# OpenCV's own, of which its Python package ships no copy; three times as fast as Haar and good enough to propose.
LBP_CASCADE = Path(__file__).parent / "cascades" / "lbpcascade_frontalface.xml"

MIN_FACE_SHARE = 0.0375  # smallest face searched, as a share of the image's long side
BACKGROUND_SHARE = 1 / 3  # faces smaller than this share of the largest one are background, and not searched for

# The first look's glances: for faces that fill much of the picture, then for smaller ones, as far down as matters.
_LARGE_FACE_SHARE = 0.3
_FIRST_LOOK_MIN_FACE_SHARE = 0.08
_FIRST_LOOK_STEP = 1.2
# Where the only face is at least so large, a further glance for smaller ones will do: most webcams see such a face.
_ALONE_FACE_SHARE = 0.16
_SAME_PROPOSAL = 0.4  # how far hits of one group may lie apart, as a share of their side
# OpenCV looks at every second position only where a face is less than twice the cascade's 20 px window. The second
# look scales the image so that its smallest face is above that.
_SECOND_LOOK_MIN_FACE_PX = 48
_SECOND_LOOK_STEP = 1.2

_CLOSE_LOOK_FACE_PX = 48
_CLOSE_LOOK_STEP = 1.07
_CLOSE_LOOK_NEIGHBORS = 4
_CLOSE_LOOK_MARGIN = 0.3  # around a proposal, as a share of its side
_FOLLOW_MARGIN = 0.5  # the same for a face that may have moved since the picture before
_CLOSE_LOOK_RANGE = (0.75, 1.35)  # of the proposal's side

_DOUBTFUL_WEIGHT = 55.1  # below it are 2 % of faces and a quarter of false hits
_SECOND_OPINION_MARGIN = 0.2  # around the face, as a share of its side
_SECOND_OPINION_RANGE = (0.7, 1.3)  # of the face's side
_SECOND_OPINION_HITS = 4  # a face has dozens

# A face that fills the picture leaves no margin around the cascade's window. Where nothing is found, the picture is
# searched once more with its edge repeated around it, for faces that fill most of it.
_FILLED_PX = 320
_FILLED_BORDER_SHARE = 0.25  # of the long side
_FILLED_MIN_FACE_SHARE = 0.6  # of the short side
_FILLED_STEP = 1.1
_FILLED_NEIGHBORS = 3

_HAAR_WINDOW_PX = 20
_LBP_WINDOW_PX = 24
_SAME_FACE = 0.3  # overlap (IoU) at which two boxes are one face
_SAME_PROPOSED_FACE = 0.4  # the same for a proposal, whose box is not as sure

# x, y, side in pixels of the full image
_Proposal = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Cascades:
    """One thread's copies: `haar` decides, `second` is asked where it is in doubt, `lbp` proposes."""

    haar: cv2.CascadeClassifier
    second: cv2.CascadeClassifier
    lbp: cv2.CascadeClassifier


class FaceDetector:
    """Finds faces; one copy of the cascades for each thread that calls it: a shared one gives wrong boxes and crashes.

    Raises:
        RuntimeError: This OpenCV has no cascades (version 5), or not the one that is needed.
    """

    def __init__(self) -> None:
        self._haar_paths = _find(HAAR_CASCADE), _find(SECOND_OPINION_CASCADE)
        self._of_thread = threading.local()
        self._cascades()  # a cascade that does not load fails here, not in the first request

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Finds the frontal faces of an image. Thread-safe.

        Args:
            grey: uint8 (H, W), upright.

        Returns:
            Square boxes inside the image, largest first; equal ones from top to bottom, left to right.
        """
        cascades = self._cascades()
        octaves = _Octaves(grey)
        found, seen_from = _first_look(cascades, octaves)
        smallest = _smallest_share(found, octaves, MIN_FACE_SHARE)
        if len(found) == 1 and smallest < seen_from and smallest >= _ALONE_FACE_SHARE * BACKGROUND_SHARE:
            found, seen_from = _glance(cascades, octaves, found, smallest, seen_from), smallest
            smallest = _smallest_share(found, octaves, MIN_FACE_SHARE)
        if len(found) != 1 or smallest < seen_from:
            working_px = round(_SECOND_LOOK_MIN_FACE_PX / smallest)
            proposals = _propose(cascades.haar, octaves, working_px, smallest, _HAAR_WINDOW_PX, _SECOND_LOOK_STEP)
            found = _with_confirmed(cascades, octaves, found, proposals)
        if not found:
            found = _search_filled(cascades.haar, octaves)
        return _largest_first(found)

    def track(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """Finds the faces of a video's next picture at a fraction of the cost. Thread-safe.

        Known faces are looked for near where they were. Where one of them is not there, the whole picture is searched;
        where none is known, it gets the first look, which finds large faces. A new small face is found by `detect`
        only.

        Args:
            grey: uint8 (H, W), upright.
            known: Boxes in the picture before.

        Returns:
            As `detect`.
        """
        cascades = self._cascades()
        octaves = _Octaves(grey)
        if not known:
            return _largest_first(_first_look(cascades, octaves)[0])
        found = _confirm(cascades, octaves, [(box.x, box.y, box.width) for box in known], _FOLLOW_MARGIN)
        if len(found) < len(known):
            found = _distinct(found + self.detect(grey))
        return _largest_first(found)

    def _cascades(self) -> _Cascades:
        cascades: _Cascades | None = getattr(self._of_thread, "cascades", None)
        if cascades is None:
            haar, second = map(_load, self._haar_paths)
            self._of_thread.cascades = cascades = _Cascades(haar, second, _load(LBP_CASCADE))
        return cascades


def _first_look(cascades: _Cascades, octaves: _Octaves) -> tuple[list[Detection], float]:
    """The larger faces, and from which share of the long side on they were looked for."""
    found = _glance(cascades, octaves, [], _LARGE_FACE_SHARE)
    smallest = _smallest_share(found, octaves, _FIRST_LOOK_MIN_FACE_SHARE)
    return _glance(cascades, octaves, found, smallest), smallest


def _smallest_share(found: Sequence[Detection], octaves: _Octaves, at_least: float) -> float:
    """Below it faces are background beside the largest one; a share of the long side."""
    largest_px = max((face.box.width for face in found), default=0)
    return max(at_least, largest_px / float(max(octaves.grey.shape)) * BACKGROUND_SHARE)


def _glance(
    cascades: _Cascades,
    octaves: _Octaves,
    found: list[Detection],
    smallest: float,
    largest: float | None = None,
) -> list[Detection]:
    """What is found already, and what LBP proposes from one share of the long side to another, confirmed."""
    working_px = round(_LBP_WINDOW_PX / smallest)
    proposals = _propose(cascades.lbp, octaves, working_px, smallest, _LBP_WINDOW_PX, _FIRST_LOOK_STEP, largest)
    return _with_confirmed(cascades, octaves, found, proposals)


def _with_confirmed(
    cascades: _Cascades, octaves: _Octaves, found: list[Detection], proposals: Sequence[_Proposal]
) -> list[Detection]:
    return _distinct(found + _confirm(cascades, octaves, _new_among(proposals, found)))


def _new_among(proposals: Sequence[_Proposal], found: Sequence[Detection]) -> list[_Proposal]:
    """The proposals that are no face which is known already: that one has had its close look."""
    boxes = [(proposal, FaceBox(*map(round, (*proposal, proposal[2])))) for proposal in proposals]
    return [proposal for proposal, box in boxes if all(box.overlap(face.box) < _SAME_PROPOSED_FACE for face in found)]


class _Octaves:
    """An image and its halves, quarters and so on, each made once, when it is first asked for.

    Halving costs a fraction of any other scaling, so every scaled copy starts from the nearest half above it.
    """

    def __init__(self, grey: GreyImage) -> None:
        self.grey = grey
        self._halved = [grey]

    def at_most(self, scale: float) -> tuple[GreyImage, float]:
        """The smallest copy that is not below a scale, and its own scale."""
        octave = max(0, math.floor(-math.log2(scale)))
        while len(self._halved) <= octave and min(self._halved[-1].shape) > 1:
            above = self._halved[-1]
            height, width = above.shape[0] // 2, above.shape[1] // 2
            even = above[: height * 2, : width * 2]
            halved = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
            self._halved.append(np.asarray(halved, dtype=np.uint8))
        reached = min(octave, len(self._halved) - 1)
        return self._halved[reached], 0.5**reached

    def shrunk(self, long_side_px: int) -> tuple[GreyImage, float]:
        """The image scaled down to a long side, never up, and the scale."""
        wanted = min(1.0, long_side_px / max(self.grey.shape))
        nearest, scale = self.at_most(wanted)
        return _resized(nearest, wanted / scale), wanted


def _propose(
    cascade: cv2.CascadeClassifier,
    octaves: _Octaves,
    working_px: int,
    min_face_share: float,
    window_px: int,
    step: float,
    max_face_share: float | None = None,
) -> list[_Proposal]:
    """Where faces may be: one proposal for each group of hits, or single hit, on a copy of at most `working_px`."""
    searched, scale = octaves.shrunk(working_px)
    min_face_px = max(window_px, round(max(searched.shape) * min_face_share))
    max_face_px = 0 if max_face_share is None else max(min_face_px, round(max(searched.shape) * max_face_share))
    hits = cascade.detectMultiScale(
        searched, step, 0, minSize=(min_face_px, min_face_px), maxSize=(max_face_px, max_face_px)
    )
    boxes = [[int(value) for value in hit] for hit in hits]
    # OpenCV keeps groups of more hits than a threshold of at least 1; counting each hit twice keeps single ones too.
    grouped, _ = cv2.groupRectangles(boxes * 2, 1, _SAME_PROPOSAL)
    return [(x / scale, y / scale, side / scale) for x, y, side, _ in grouped]


def _confirm(
    cascades: _Cascades,
    octaves: _Octaves,
    proposals: Sequence[_Proposal],
    margin_share: float = _CLOSE_LOOK_MARGIN,
) -> list[Detection]:
    """The faces at proposals, each searched around its place with the face at one size."""
    found = []
    for proposal in proposals:
        close = _Close.of(octaves, proposal, margin_share)
        if close is None:  # a box of another picture
            continue
        smallest, largest = close.sides(_CLOSE_LOOK_RANGE)
        boxes, _, weights = cascades.haar.detectMultiScale3(
            close.part,
            _CLOSE_LOOK_STEP,
            _CLOSE_LOOK_NEIGHBORS,
            minSize=smallest,
            maxSize=largest,
            outputRejectLevels=True,
        )
        for box, weight in zip(boxes, weights, strict=True):
            face = close.in_image(box[0], box[1], box[2])
            if weight >= _DOUBTFUL_WEIGHT or _is_seconded(cascades.second, octaves, face):
                found.append(Detection(_inside(*face, octaves.grey), float(weight)))
    return _distinct(found)


def _is_seconded(second: cv2.CascadeClassifier, octaves: _Octaves, face: _Proposal) -> bool:
    """Whether another cascade sees a face there too."""
    close = _Close.of(octaves, face, _SECOND_OPINION_MARGIN)
    if close is None:
        return False
    smallest, largest = close.sides(_SECOND_OPINION_RANGE)
    hits = second.detectMultiScale(close.part, _CLOSE_LOOK_STEP, 0, minSize=smallest, maxSize=largest)
    return len(hits) >= _SECOND_OPINION_HITS


@dataclass(frozen=True, slots=True)
class _Close:
    """The surroundings of a proposal, scaled so that a face of its size has one size everywhere.

    Attributes:
        part: uint8 (h, w).
        left: Of the part in the image, in the image's pixels; `top` alike.
        scale: Of the part, against the image.
        side_px: Of the proposal in the part.
    """

    part: GreyImage
    left: float
    top: float
    scale: float
    side_px: float

    @classmethod
    def of(cls, octaves: _Octaves, proposal: _Proposal, margin_share: float) -> _Close | None:
        """None where the proposal lies outside the image."""
        x, y, side = proposal
        wanted = min(1.0, _CLOSE_LOOK_FACE_PX / side)
        copy, scale = octaves.at_most(wanted)
        margin = side * margin_share
        left, top = max(0, round((x - margin) * scale)), max(0, round((y - margin) * scale))
        right, bottom = round((x + side + margin) * scale), round((y + side + margin) * scale)
        region = copy[top:bottom, left:right]
        if not region.size:
            return None
        return cls(_resized(region, wanted / scale), left / scale, top / scale, wanted, side * wanted)

    def sides(self, shares: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The smallest and the largest face, width and height, from one share of the proposal's side to another."""
        smallest, largest = (round(self.side_px * share) for share in shares)
        return (max(_HAAR_WINDOW_PX, smallest),) * 2, (largest, largest)

    def in_image(self, x: float, y: float, side: float) -> _Proposal:
        """A square of the part in the image's pixels."""
        return self.left + x / self.scale, self.top + y / self.scale, side / self.scale


def _search_filled(haar: cv2.CascadeClassifier, octaves: _Octaves) -> list[Detection]:
    shrunk, scale = octaves.shrunk(_FILLED_PX)
    border = round(max(shrunk.shape) * _FILLED_BORDER_SHARE)
    bordered = cv2.copyMakeBorder(shrunk, border, border, border, border, cv2.BORDER_REPLICATE)
    min_side_px = max(_HAAR_WINDOW_PX, round(min(shrunk.shape) * _FILLED_MIN_FACE_SHARE))
    boxes, _, weights = haar.detectMultiScale3(
        bordered, _FILLED_STEP, _FILLED_NEIGHBORS, minSize=(min_side_px, min_side_px), outputRejectLevels=True
    )
    return [
        Detection(
            _inside((box[0] - border) / scale, (box[1] - border) / scale, box[2] / scale, octaves.grey), float(weight)
        )
        for box, weight in zip(boxes, weights, strict=True)
    ]


def _resized(grey: GreyImage, scale: float) -> GreyImage:
    height, width = grey.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return grey
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _distinct(found: Sequence[Detection]) -> list[Detection]:
    """Without boxes that are the same face as a surer one."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.weight):
        if all(face.box.overlap(other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _largest_first(found: Sequence[Detection]) -> list[Detection]:
    return sorted(found, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))


def _inside(left: float, top: float, side: float, grey: GreyImage) -> FaceBox:
    """The box in whole pixels of the image; rounding must not push it over an edge."""
    height, width = grey.shape
    rounded = min(round(side), width, height)
    return FaceBox(
        min(max(round(left), 0), width - rounded), min(max(round(top), 0), height - rounded), rounded, rounded
    )


def _find(cascade: str) -> Path:
    if not hasattr(cv2, "CascadeClassifier"):
        raise RuntimeError(f"Haar cascades need OpenCV below version 5. Received: {cv2.__version__}")
    path = Path(cv2.__file__).parent / "data" / cascade
    if not path.is_file():
        raise RuntimeError(f"OpenCV {cv2.__version__} ships no cascade {cascade}")
    return path


def _load(path: Path) -> cv2.CascadeClassifier:
    try:
        cascade = cv2.CascadeClassifier(str(path))
    except (cv2.error, SystemError):  # which of them, or neither, depends on what is wrong with the file
        cascade = None
    if cascade is None or cascade.empty():
        raise RuntimeError(f"OpenCV {cv2.__version__} cannot load the cascade {path.name}")
    return cascade
