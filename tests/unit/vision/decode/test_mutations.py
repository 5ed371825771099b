"""Mutated image files: `decode_grey` returns a valid image or a documented error, whatever the mutation."""

from __future__ import annotations

import os

import numpy as np
import pytest

from app.errors import ErrorCode, FerError
from app.vision.decode import decode_grey, decode_image, reduction
from tests.support.image_files import SCENE, lossless_jpeg
from tests.support.mutations import mutated, sources

COUNT = int(os.environ.get("FER_TEST_MUTATIONS", "3000"))  # the stress test sets 100,000
MAX_PIXELS = 1_000_000
EXPECTED_CODES = {
    ErrorCode.EMPTY_IMAGE,
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
    ErrorCode.UNDECODABLE_IMAGE,
    ErrorCode.TOO_MANY_PIXELS,
    ErrorCode.IMAGE_TOO_SMALL,
}


def test_decode_grey_reads_every_source_of_the_mutations():
    for data in sources():
        assert decode_grey(data, MAX_PIXELS).size == 48 * 64


@pytest.mark.parametrize("seed", range(4))
def test_decode_grey_of_a_mutated_file_returns_an_image_or_a_documented_error(seed):
    outcomes = {"decoded": 0} | dict.fromkeys(EXPECTED_CODES, 0)
    for data in mutated(sources(), COUNT // 4, seed):
        try:
            grey = decode_grey(data, MAX_PIXELS)
        except FerError as error:
            outcomes[error.code] += 1  # KeyError: a code that decoding must not return
        else:
            assert grey.dtype == np.uint8
            assert grey.ndim == 2
            assert min(grey.shape) >= 8
            assert grey.size <= MAX_PIXELS
            outcomes["decoded"] += 1
    # The mutations reach the decoder and do damage: both outcomes are frequent.
    assert outcomes["decoded"] > COUNT / 40
    assert outcomes[ErrorCode.UNDECODABLE_IMAGE] > COUNT / 40


@pytest.mark.parametrize("factor", [2, 8])
def test_reduced_decoding_of_a_mutated_jpeg_returns_an_image_or_a_documented_error(factor):
    jpegs = [data for data in sources() if data.startswith(b"\xff\xd8")] + [lossless_jpeg(SCENE)]
    outcomes = {"decoded": 0} | dict.fromkeys(EXPECTED_CODES, 0)
    for data in mutated(jpegs, COUNT // 4, factor):
        try:
            image = decode_image(data, MAX_PIXELS, reduction.fixed(factor))
        except FerError as error:
            outcomes[error.code] += 1  # KeyError: a code that decoding must not return
        else:
            size = -(-image.height_px // image.reduction), -(-image.width_px // image.reduction)
            assert image.grey.shape == size
            assert image.grey.size <= MAX_PIXELS
            outcomes["decoded"] += 1
    assert outcomes["decoded"] > COUNT / 40
    assert outcomes[ErrorCode.UNDECODABLE_IMAGE] > COUNT / 40
