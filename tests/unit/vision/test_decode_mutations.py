"""Spoiled image files: decoded within the limits or refused with a code, whatever was done to them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from app.errors import ErrorCode, FerError
from app.vision.decode import decode_grey
from tests.support.mutations import mutated, sources

# The default is quick; `make torture` sets 100,000.
COUNT = int(os.environ.get("FER_TEST_MUTATIONS", "3000"))
MAX_PIXELS = 1_000_000
REFUSALS = {
    ErrorCode.EMPTY_IMAGE,
    ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
    ErrorCode.UNDECODABLE_IMAGE,
    ErrorCode.TOO_MANY_PIXELS,
    ErrorCode.IMAGE_TOO_SMALL,
}


def test_sources_are_all_decoded():
    for data in sources():
        assert decode_grey(data, MAX_PIXELS).size == 48 * 64


@pytest.mark.parametrize("seed", range(4))
def test_decode_mutated_file_gives_a_picture_or_a_code(seed):
    outcomes = {"decoded": 0} | dict.fromkeys(REFUSALS, 0)
    for data in mutated(sources(), COUNT // 4, seed):
        try:
            grey = decode_grey(data, MAX_PIXELS)
        except FerError as error:
            outcomes[error.code] += 1  # a KeyError here is a code that decoding must not give
        else:
            assert grey.dtype == np.uint8
            assert grey.ndim == 2
            assert min(grey.shape) >= 8
            assert grey.size <= MAX_PIXELS
            outcomes["decoded"] += 1
    # The mutations reach the decoder, and they hurt: neither outcome is rare.
    assert outcomes["decoded"] > COUNT / 40
    assert outcomes[ErrorCode.UNDECODABLE_IMAGE] > COUNT / 40
