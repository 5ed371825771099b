"""Drawing of boxes and emotions on a copy of an image."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from app.domain import FaceBox, ImageResult
from app.vision.decode import decode_image, reduction
from app.vision.decode.formats import identify_format
from app.vision.decode.repair import repair
from app.vision.decode.tiff import full_picture

_BOX_COLOUR = (0, 200, 120)
_TEXT_COLOUR = (0, 0, 0)
_LINE_SHARE = 1 / 300  # of the long side of the image
_TEXT_SHARE = 1 / 40
_LINE_HEIGHT = 1.3  # of the font size
_MAX_JPEG_PIXELS = 40_000_000  # larger JPEGs are drawn at 1/2, 1/4 or 1/8


def draw(path: Path, result: ImageResult, destination: Path) -> None:
    """Write a JPEG copy of the upright image with a box and the emotion of every face.

    The copy of a JPEG of more than 40 megapixels is smaller than the image. The copy is grey if only
    `app.vision.decode` decodes the file.

    Args:
        path: The image, which the pipeline has decoded without error.
        result: The result of the image.
        destination: The file to write. Missing folders are created.
    """
    image = _read(path.read_bytes(), result.width_px * result.height_px)
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


def _read(data: bytes, pixels: int) -> Image.Image:
    """Return the upright image in RGB.

    Args:
        data: The image file.
        pixels: Width times height of the image.
    """
    image_format = identify_format(data) or ""
    image = _read_colours(data, image_format, pixels)
    if image is None and (repaired := repair(image_format, data)) is not None:
        image = _read_colours(repaired.data, image_format, pixels)
    if image is None:
        image = Image.fromarray(decode_image(data, pixels, reduction.for_detection).grey).convert("RGB")
    return image


def _read_colours(data: bytes, image_format: str, pixels: int) -> Image.Image | None:
    """Return the upright image in RGB; None if the file is damaged, or if Pillow clips its levels."""
    with suppress(Exception):  # the decoders raise many kinds of exceptions for damaged files
        if image_format == "HEIF":
            import pi_heif

            primary: Image.Image = pi_heif.open_heif(data).to_pillow()
            return primary.convert("RGB")
        if image_format == "TIFF":
            picture = full_picture(data, pixels)
            if picture.grey is not None:
                return Image.fromarray(picture.grey).convert("RGB")
            data = picture.data
        with _open(io.BytesIO(data), image_format) as stored:
            if not stored.mode.startswith("I;16"):
                return ImageOps.exif_transpose(stored).convert("RGB")
    return None


def _open(file: io.BytesIO, image_format: str) -> Image.Image:
    if image_format != "JPEG":
        return Image.open(file)
    stored = JpegImageFile(file)  # `Image.open` refuses JPEGs of more than 179 megapixels
    steps = (step for step in (1, 2, 4) if stored.width * stored.height <= _MAX_JPEG_PIXELS * step**2)
    factor = next(steps, 8)
    stored.draft(None, (stored.width // factor, stored.height // factor))
    return stored
