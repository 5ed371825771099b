"""From YuNet's box and landmarks to the framing of FER2013 and the roll.

`python -m benchmarks.yunet_framing` measures the constants: it fits them to Training faces on larger images.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Logarithm of the side of a FER2013 crop, as a multiple of the height of YuNet's box: a constant, and the weights of
# `features`. YuNet's box ends at the chin and the hairline and is narrow in a turned face; FER2013's square is neither.
SIDE_WEIGHTS = (-0.82, 0.57, -0.89, 2.33)
_MAX_SQUARED_YAW = 0.09  # in stronger profiles the landmarks are too inexact
# Limits of the side, as multiples of the square root of the area of the box, for landmarks that are wrong.
_USUAL_SIDE, _SIDE_RANGE = 1.1, (0.8, 1.25)

# The landmarks of a turned face are between the truth and those of an upright face: in a face of 160 px with a roll of
# 20 degrees they show 14 degrees, in a smaller face less. A second estimate, of the face turned back by the first, has
# a small error.
ROLL_GAIN = 1.4


def features(width: float, height: float, landmarks: Floats) -> tuple[float, float, float, float]:
    """Return what the side depends on: 1, proportions of the box, distance of eyes and mouth, and squared yaw.

    Args:
        width: Width of YuNet's box.
        height: Height of YuNet's box.
        landmarks: float64 (5, 2), in the order of `Detection.landmarks`.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    eyes_to_mouth = max(math.dist(eyes, mouth), 1e-3 * height)
    yaw = float(landmarks[2, 0] - eyes[0]) / eyes_to_mouth
    return 1.0, math.log(width / height), math.log(eyes_to_mouth / height), min(yaw * yaw, _MAX_SQUARED_YAW)


def side_of(width: float, height: float, landmarks: Floats) -> float:
    """Return the side of the square with the framing of FER2013. The arguments are those of `features`."""
    fitted = height * math.exp(float(np.dot(SIDE_WEIGHTS, features(width, height, landmarks))))
    usual = _USUAL_SIDE * math.sqrt(width * height)
    return min(max(fitted, _SIDE_RANGE[0] * usual), _SIDE_RANGE[1] * usual)


def roll_of(landmarks: Floats) -> float:
    """Estimate the roll of a face in radians, clockwise, from five landmarks.

    The direction of the eye line and the direction across the midline give one angle each. Their mean is multiplied by
    `ROLL_GAIN`.

    Args:
        landmarks: float64 (5, 2), in the order of `Detection.landmarks`.
    """
    right_eye, left_eye = landmarks[:2]
    across = left_eye - right_eye
    down = landmarks[3:].mean(axis=0) - (right_eye + left_eye) / 2
    return ROLL_GAIN * math.atan2(across[1] - down[0], across[0] + down[1])
