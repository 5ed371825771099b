"""Boxes and emotions drawn on a copy of the photograph."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from app.domain import ImageResult
from app.vision.decode import decode_grey

_BOX_COLOUR = (0, 200, 120)
_TEXT_COLOUR = (0, 0, 0)
_LINE_SHARE = 1 / 300  # of the image's long side
_TEXT_SHARE = 1 / 40
_LINE_HEIGHT = 1.3  # of the text's size


def draw(path: Path, result: ImageResult, destination: Path) -> None:
    """Writes a JPEG of the upright photograph with every face framed and named.

    Args:
        path: The photograph, already read without error.
        result: What was found in it.
        destination: The file to write; folders are made.
    """
    with Image.open(path) as stored:
        if stored.mode.startswith("I;16"):  # Pillow would cut off all that is above 255
            photograph = Image.fromarray(decode_grey(path.read_bytes(), stored.width * stored.height)).convert("RGB")
        else:
            photograph = ImageOps.exif_transpose(stored).convert("RGB")
    canvas = ImageDraw.Draw(photograph)
    long_side = max(photograph.size)
    line_px = max(2, round(long_side * _LINE_SHARE))
    text_px = max(10.0, long_side * _TEXT_SHARE)
    font = ImageFont.load_default(text_px)
    for face in result.faces:
        box = face.box
        corners = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
        canvas.rectangle(corners, outline=_BOX_COLOUR, width=line_px)
        label, place = f"{face.emotion} {face.confidence:.0%}", (box.x, max(0, box.y - text_px * _LINE_HEIGHT))
        canvas.rectangle(canvas.textbbox(place, label, font=font), fill=_BOX_COLOUR)
        canvas.text(place, label, fill=_TEXT_COLOUR, font=font)
    destination.parent.mkdir(parents=True, exist_ok=True)
    photograph.save(destination, "JPEG", quality=90, subsampling=0)
