"""EXIF orientation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.vision.decode import decode_grey
from tests.support.image_files import MAX_PIXELS, SCENE, assert_close, encode


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode_grey_applies_the_exif_orientation(image_format, orientation):
    # Stored pixels that become the upright scene: the inverse of the table in EXIF 2.32.
    stored = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.T,
        6: np.rot90(SCENE),
        7: SCENE[::-1, ::-1].T,
        8: np.rot90(SCENE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), image_format, exif=exif)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_decode_grey_ignores_damaged_exif(image_format):
    exif = b"Exif\0\0no TIFF header"
    data = encode(Image.fromarray(SCENE), image_format, exif=exif)
    assert b"no TIFF header" in data
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)
