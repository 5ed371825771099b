"""Calibration, threshold and figures of a face verifier, on data that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from app.contract.contrast import with_min_contrast
from app.contract.verifier import Calibration
from training.evaluation.corruptions import corrupted
from training.verifier.config import VerifierConfig
from training.verifier.distortions import distorted

Grey = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
Predict = Callable[[Grey], Logits]

_GAINS = (0.3, 0.1, 0.06)
_CORRUPTIONS = ("rotated by 15 degrees", "one ninth occluded", "blur, sigma 1 px", "noise, sigma 10 grey levels")
_MIN_SCALE = 1e-4  # of the calibration of a network that learned nothing
_USUAL_THRESHOLD = 0.5  # default of `min_detection_confidence`


@dataclass(frozen=True)
class HeldOut:
    """Data for calibration, threshold and figures. All crops are uint8 (N, 48, 48, 1).

    Attributes:
        faces: PublicTest.
        others: Crops without a face, of pictures that training did not use.
        other_sources: Picture of each crop.
        photo_faces: Faces of photographs, framed by YuNet.
    """

    faces: Grey
    others: Grey
    other_sources: npt.NDArray[np.str_]
    photo_faces: Grey


def calibrate(predict: Predict, held_out: HeldOut, config: VerifierConfig) -> Calibration:
    """Fit the probability to distorted faces and distorted crops without a face (Platt scaling).

    The fit uses as many faces as other crops. Its offset is then moved to the share of faces in `face_prior`.

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """
    generator = np.random.default_rng(config.seed)
    count = min(len(held_out.faces), len(held_out.others))
    logits = []
    for crops in (held_out.faces, held_out.others):
        chosen = crops[generator.permutation(len(crops))[:count]]
        backgrounds = held_out.others[generator.integers(len(held_out.others), size=count)]
        changed = [
            distorted(crop, background, config.distortions, generator)
            for crop, background in zip(chosen, backgrounds, strict=True)
        ]
        logits.append(predict(np.stack(changed))[:, 0].astype(np.float64))
    faces, others = logits

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        scale, offset = np.exp(parameters[0]), parameters[1]
        return float(
            np.logaddexp(0, -(scale * faces + offset)).mean() + np.logaddexp(0, scale * others + offset).mean()
        )

    log_scale, offset = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    offset += np.log(config.face_prior / (1 - config.face_prior))
    return Calibration(scale=max(_MIN_SCALE, round(float(np.exp(log_scale)), 4)), offset=round(float(offset), 4))


def figures(predict: Predict, calibration: Calibration, held_out: HeldOut, face_prior: float) -> dict[str, float]:
    """Return shares of crops with a probability of at least 0.5, by kind of crop, and the error of the calibration."""

    def share(crops: Grey) -> float:
        return round(float((calibration.probability(predict(crops)[:, 0]) >= _USUAL_THRESHOLD).mean()), 4)

    kinds: dict[str, Grey] = {"faces of PublicTest": held_out.faces}
    kinds |= {f"{name} (faces)": with_min_contrast(corrupted(held_out.faces, name)) for name in _CORRUPTIONS}
    for gain in _GAINS:
        dark = np.rint(held_out.faces * gain).astype(np.uint8)
        kinds[f"levels at {gain:g} (faces)"] = with_min_contrast(dark)
    if len(held_out.photo_faces):
        kinds["faces of photographs"] = held_out.photo_faces
    kinds["crops without a face"] = held_out.others
    measured = {name: share(crops) for name, crops in kinds.items()}
    measured |= _counts(held_out)
    measured["calibration error"] = _calibration_error(predict, calibration, held_out, face_prior)
    return measured


def _counts(held_out: HeldOut) -> dict[str, float]:
    return {
        "number of faces of PublicTest": len(held_out.faces),
        "number of faces of photographs": len(held_out.photo_faces),
        "number of crops without a face": len(held_out.others),
        "number of pictures without a face": len(set(held_out.other_sources.tolist())),
    }


def _calibration_error(predict: Predict, calibration: Calibration, held_out: HeldOut, face_prior: float) -> float:
    """Return the expected calibration error over ten bins, with the given share of faces."""
    crops = np.concatenate([held_out.faces, held_out.others])
    labels = np.repeat([1.0, 0.0], [len(held_out.faces), len(held_out.others)])
    weights = np.where(labels == 1, face_prior / len(held_out.faces), (1 - face_prior) / len(held_out.others))
    probability = calibration.probability(predict(crops)[:, 0])
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [abs((weights * (probability - labels))[bins == b].sum()) for b in range(10)]
    return round(float(sum(gaps)), 4)
