"""Crops without faces: what OpenCV's Haar cascades propose on pictures.

A cascade's single hits are used, not its groups, so that the crops include everything that a later stage may receive.
YuNet removes the surroundings of faces, so that photographs of people give crops of their clothes. Pictures in which it
finds no face are also searched turned, as the detector does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from app.contract.preprocess import CROP_SIZE_PX, crop_face
from app.domain import FaceBox
from training.errors import TrainingError
from training.files import DAMAGED_ARRAYS

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avi"})
_LONG_SIDE_PX = 640
_MIN_SIDE_PX = 64
_CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml")
_STEP, _MIN_FACE_PX, _GROUP_DISTANCE = 1.15, 24, 0.3
_RANDOM_BOXES = 4  # per picture, at random places
_TURNED_DEGREES = (20.0, -20.0, 90.0)  # rolls of the turned copies
_VIDEO_FRAMES = 12  # per video, at equal distances
_FACE_SCORE = 0.3  # of YuNet; low, because a missed face would become a crop "without a face"
_KEPT_FACE_SCORE = 0.8
_FACE_MARGIN = 0.25  # around a face, as a share of its side

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MinedCrops:
    """Crops of pictures, uint8 (N, 48, 48, 1).

    Attributes:
        others: Crops without a face.
        other_sources: Name of the picture of each crop.
        faces: Faces that YuNet finds with a high score, framed as a Haar box.
        face_sources: Name of the picture of each face.
    """

    others: Grey
    other_sources: npt.NDArray[np.str_]
    faces: Grey
    face_sources: npt.NDArray[np.str_]


def mine(folders: Sequence[Path], yunet: Path, crops_per_picture: int, seed: int) -> MinedCrops:
    """Crop what the cascades propose on all pictures of folders.

    Args:
        folders: Folders of JPEG, PNG, WebP and AVI files, searched recursively.
        yunet: `face_detection_yunet_2023mar.onnx`.
        crops_per_picture: Largest number of crops of one picture, drawn at random.
        seed: Seed of the draws.

    Raises:
        TrainingError: A folder does not exist, there is no picture, or the YuNet file is missing.
    """
    if not yunet.is_file():
        raise TrainingError(f"{yunet} does not exist: name the YuNet model with --yunet.")
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise TrainingError(f"expected folders of pictures. Received: {', '.join(missing)}")
    generator = np.random.default_rng(seed)
    cascades = [cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name)) for name in _CASCADES]
    others: list[Grey] = []
    faces: list[Grey] = []
    sources: tuple[list[str], list[str]] = ([], [])
    for name, picture in tqdm(list(_names(folders)), unit="picture"):
        for colour in _read(picture):
            grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            found = _find_faces(yunet, colour)
            boxes = [box for box in _propose(cascades, grey, generator) if not _touches(box, found)]
            crops = [crop_face(grey, box) for box in boxes]
            if not len(found):
                crops += _crops_of_turned_copies(cascades, grey)
            chosen = generator.permutation(len(crops))[:crops_per_picture]
            others += [crops[index] for index in chosen]
            sources[0].extend([name] * len(chosen))
            framed = [_haar_box(row) for row in found if row[-1] >= _KEPT_FACE_SCORE and row[2] >= _MIN_FACE_PX]
            faces += [crop_face(grey, box) for box in framed]
            sources[1].extend([name] * len(framed))
    if not others:
        raise TrainingError(f"no picture in {', '.join(map(str, folders))}")
    empty = np.empty((0, CROP_SIZE_PX, CROP_SIZE_PX, 1), np.uint8)
    return MinedCrops(
        np.stack(others), np.array(sources[0]), np.stack(faces) if faces else empty, np.array(sources[1], dtype=str)
    )


def save_crops(path: Path, mined: MinedCrops) -> None:
    """Write crops to an NPZ file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **vars(mined))


def load_crops(path: Path, excluded: Sequence[str] = ()) -> MinedCrops:
    """Read crops from an NPZ file.

    Args:
        path: File of `save_crops`.
        excluded: Pictures whose path contains one of these texts are left out, for example statues and portraits.

    Raises:
        TrainingError: The file is missing or is no result of `save_crops`.
    """
    try:
        # numpy does not close a damaged file that it opened itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            mined = MinedCrops(**{name: arrays[name] for name in MinedCrops.__dataclass_fields__})
    except DAMAGED_ARRAYS as error:
        raise TrainingError(f"{path} is missing or damaged: run `python -m training verifier mine` first.") from error
    others, faces = (_kept(sources, excluded) for sources in (mined.other_sources, mined.face_sources))
    return MinedCrops(mined.others[others], mined.other_sources[others], mined.faces[faces], mined.face_sources[faces])


def write_sheet(path: Path, crops: Grey, columns: int = 40, rows: int = 25, seed: int = 0) -> None:
    """Write a random sample of crops as one picture, to look at what was mined."""
    chosen = crops[np.random.default_rng(seed).permutation(len(crops))[: columns * rows], :, :, 0]
    side = CROP_SIZE_PX
    sheet = np.zeros((rows * columns, side, side), np.uint8)
    sheet[: len(chosen)] = chosen
    joined = sheet.reshape(rows, columns, side, side).transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
    cv2.imwrite(str(path), joined)


def _kept(sources: npt.NDArray[np.str_], excluded: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([not any(text in source for text in excluded) for source in sources], dtype=np.bool_)


def _names(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            if path.is_file() and path.suffix.lower() in _SUFFIXES:
                yield name, path


def _read(path: Path) -> Iterator[Grey]:
    """Yield the picture, or some frames of a video, as uint8 (H, W, 3) of a bounded size."""
    if path.suffix.lower() == ".avi":
        video = cv2.VideoCapture(str(path))
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        for index in np.linspace(0, count - 1, _VIDEO_FRAMES).astype(int) if count else ():
            video.set(cv2.CAP_PROP_POS_FRAMES, int(index))
            ok, frame = video.read()
            if ok:
                yield _bounded(np.asarray(frame, dtype=np.uint8))
        return
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is not None and min(picture.shape[:2]) >= _MIN_SIDE_PX:
        yield _bounded(np.asarray(picture, dtype=np.uint8))


def _bounded(picture: Grey) -> Grey:
    scale = _LONG_SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _propose(cascades: Sequence[cv2.CascadeClassifier], grey: Grey, generator: np.random.Generator) -> list[FaceBox]:
    boxes = _search(cascades, grey)
    for _ in range(_RANDOM_BOXES):
        side = int(min(grey.shape) * generator.uniform(0.08, 0.7))
        x, y = (int(generator.integers(0, length - side + 1)) for length in (grey.shape[1], grey.shape[0]))
        boxes.append(FaceBox(x, y, side, side))
    return boxes


def _search(cascades: Sequence[cv2.CascadeClassifier], grey: Grey) -> list[FaceBox]:
    boxes: list[FaceBox] = []
    for cascade in cascades:
        hits = [list(map(int, hit)) for hit in cascade.detectMultiScale(grey, _STEP, 0, minSize=(_MIN_FACE_PX,) * 2)]
        groups, _ = cv2.groupRectangles(hits * 2, 1, _GROUP_DISTANCE)
        boxes += [FaceBox(*map(int, group)) for group in groups]
    return boxes


def _crops_of_turned_copies(cascades: Sequence[cv2.CascadeClassifier], grey: Grey) -> list[Grey]:
    copies = (_turned(grey, degrees) for degrees in _TURNED_DEGREES)
    return [crop_face(copy, box) for copy in copies for box in _search(cascades, copy)]


def _turned(grey: Grey, degrees: float) -> Grey:
    """Return the picture turned around its centre. Corners that leave the frame are cut off."""
    height, width = grey.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(grey, matrix, (width, height)), dtype=np.uint8)


def _find_faces(yunet: Path, colour: Grey) -> npt.NDArray[np.float32]:
    """Return the faces of YuNet, float32 (N, 15): left, top, width, height, five landmarks, score."""
    height, width = colour.shape[:2]
    detector = cv2.FaceDetectorYN.create(str(yunet), "", (width, height), _FACE_SCORE)
    _, rows = detector.detect(colour)
    return np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, dtype=np.float32)


def _haar_box(row: npt.NDArray[np.float32]) -> FaceBox:
    """Return the square of a Haar box around a face of YuNet, which reaches from the forehead to the chin."""
    x, y, width, height = map(float, row[:4])
    side = 1.05 * (width + height) / 2
    left, top = x + width / 2 - side / 2, y + height * 0.48 - side / 2
    return FaceBox(round(left), round(top), round(side), round(side))


def _touches(box: FaceBox, faces: npt.NDArray[np.float32]) -> bool:
    for x, y, width, height in faces[:, :4]:
        margin = _FACE_MARGIN * max(width, height)
        if (
            box.x < x + width + margin
            and box.x + box.width > x - margin
            and box.y < y + height + margin
            and box.y + box.height > y - margin
        ):
            return True
    return False
