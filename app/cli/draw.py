"""Drawing of boxes and emotions on a copy of an image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from app.domain import FaceBox, ImageResult
from app.vision.decode import decode_grey
from app.vision.decode.formats import identify_format

_BOX_COLOUR = (0, 200, 120)
_TEXT_COLOUR = (0, 0, 0)
_LINE_SHARE = 1 / 300  # of the long side of the image
_TEXT_SHARE = 1 / 40
_LINE_HEIGHT = 1.3  # of the font size
_MAX_JPEG_PIXELS = 40_000_000  # larger JPEGs are drawn at 1/2, 1/4 or 1/8
_HEAD_BYTES = 16


def draw(path: Path, result: ImageResult, destination: Path) -> None:
    """Write a JPEG copy of the upright image with a box and the emotion of every face.

    The copy of a JPEG of more than 40 megapixels is smaller than the image.

    Args:
        path: The image, which the pipeline has decoded without error.
        result: The result of the image.
        destination: The file to write. Missing folders are created.
    """
    with _open(path) as stored:
        if stored.mode.startswith("I;16"):  # Pillow clips values above 255
            image = Image.fromarray(decode_grey(path.read_bytes(), stored.width * stored.height)).convert("RGB")
        else:
            image = ImageOps.exif_transpose(stored).convert("RGB")
    scale = image.width / result.width_px
    labels = [f"{result.doubt.emotion_of(face)} {face.confidence:.0%}" for face in result.faces]
    mark(image, [(face.box.scaled(scale), label) for face, label in zip(result.faces, labels, strict=True)])
    destination.parent.mkdir(parents=True, exist_ok=True)
    image.save(destination, "JPEG", quality=90, subsampling=0)


def mark(image: Image.Image, faces: Iterable[tuple[FaceBox, str]]) -> None:
    """Draw a box and a label for each face on an RGB image, in place."""
    canvas = ImageDraw.Draw(image)
    long_side = max(image.size)
    line_px = max(2, round(long_side * _LINE_SHARE))
    text_px = max(10.0, long_side * _TEXT_SHARE)
    font = ImageFont.load_default(text_px)
    for box, label in faces:
        corners = (box.x, box.y, box.x + max(1, box.width) - 1, box.y + max(1, box.height) - 1)
        canvas.rectangle(corners, outline=_BOX_COLOUR, width=line_px)
        place = (box.x, max(0, box.y - text_px * _LINE_HEIGHT))
        canvas.rectangle(canvas.textbbox(place, label, font=font), fill=_BOX_COLOUR)
        canvas.text(place, label, fill=_TEXT_COLOUR, font=font)


def _open(path: Path) -> Image.Image:
    with path.open("rb") as file:
        if identify_format(file.read(_HEAD_BYTES)) != "JPEG":
            return Image.open(path)
    stored = JpegImageFile(path)  # `Image.open` refuses JPEGs of more than 179 megapixels
    steps = (step for step in (1, 2, 4) if stored.width * stored.height <= _MAX_JPEG_PIXELS * step**2)
    reduction = next(steps, 8)
    stored.draft(None, (stored.width // reduction, stored.height // reduction))
    return stored
