"""Write the samples of the page to `app/web`: a portrait in the public domain, and mean faces as a photo and a video.

A mean face averages all PrivateTest images of one label, so that no person can be recognised in it. Run from the root
of the repository with the environment of `make test`:

    .venv-dev/bin/python -m docs.images.make_samples --data path/to/fer2013.zip
"""

from __future__ import annotations

import argparse
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from docs.images.make_expressions import mean_face
from training.data.fer2013 import Split, load_fer2013

_REPOSITORY = Path(__file__).parent.parent.parent
_WEB = _REPOSITORY / "app" / "web"
_FACE_PX, _MARGIN_PX = 192, 64
_TILE_PX = _FACE_PX + 2 * _MARGIN_PX
_FRAMES_PER_S = 15
_HOLD_FRAMES, _MORPH_FRAMES = 18, 6  # of each face, and between two faces
_BACKGROUND = 128  # grey level

Grey = npt.NDArray[np.uint8]


def tile(face: Grey, shift_px: int = 0) -> Grey:
    """Return a mean face, uint8 (48, 48, 1), enlarged and faded into a grey square with a margin.

    Args:
        face: The mean face.
        shift_px: How far the face is moved to the right.
    """
    large = cv2.resize(face[..., 0], (_FACE_PX, _FACE_PX), interpolation=cv2.INTER_CUBIC)
    sides = (_MARGIN_PX, _MARGIN_PX, _MARGIN_PX + shift_px, _MARGIN_PX - shift_px)
    padded = cv2.copyMakeBorder(large, *sides, cv2.BORDER_REPLICATE)
    mask = np.zeros_like(padded)
    centre, axes = (_TILE_PX // 2 + shift_px, _TILE_PX // 2), (int(_FACE_PX * 0.5), int(_FACE_PX * 0.58))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    weight = cv2.GaussianBlur(mask, (0, 0), 7).astype(np.float64) / 255
    return np.asarray(padded * weight + _BACKGROUND * (1 - weight)).round().astype(np.uint8)


def write_photo(faces: list[Grey], path: Path) -> None:
    """Write all mean faces in two rows."""
    tiles = [tile(face) for face in faces]
    tiles.append(np.full_like(tiles[0], _BACKGROUND))
    rows = [np.hstack(tiles[:4]), np.hstack(tiles[4:])]
    rows[1] = np.roll(rows[1], _TILE_PX // 2, axis=1)
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])


def write_video(faces: list[Grey], path: Path) -> None:
    """Write a video in which each mean face turns into the next one."""
    frames = []
    for face, following in zip(faces, [*faces[1:], faces[0]], strict=True):
        frames += [face] * _HOLD_FRAMES
        for step in range(_MORPH_FRAMES):
            frames.append(
                cv2.addWeighted(face, 1 - step / _MORPH_FRAMES, following, step / _MORPH_FRAMES, 0)[..., None]
            )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=_FRAMES_PER_S, options={"crf": "38", "b": "0"})
        stream.width, stream.height, stream.pix_fmt = 2 * _TILE_PX, _TILE_PX, "yuv420p"
        for index, frame in enumerate(frames):
            shift_px = round(0.4 * _MARGIN_PX * np.sin(2 * np.pi * index / len(frames)))
            grey = np.full((_TILE_PX, 2 * _TILE_PX), _BACKGROUND, np.uint8)
            grey[:, _TILE_PX // 2 : _TILE_PX // 2 + _TILE_PX] = tile(frame, shift_px)
            picture = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, _FRAMES_PER_S)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def main() -> None:
    """Write all samples."""
    parser = argparse.ArgumentParser(prog="python -m docs.images.make_samples", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/fer2013.zip"), help="FER2013 as a .zip file")
    arguments = parser.parse_args()
    split = load_fer2013(arguments.data)[Split.PRIVATE_TEST]
    faces = [mean_face(split, code) for code in range(len(LABELS))]
    shutil.copyfile(_REPOSITORY / "tests" / "photos" / "astronaut.jpg", _WEB / "sample-portrait.jpg")
    write_photo(faces, _WEB / "sample-faces.jpg")
    write_video(faces, _WEB / "sample-video.webm")


if __name__ == "__main__":
    main()
