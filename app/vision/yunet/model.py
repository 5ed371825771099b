"""The network: verification of its file, and from an image to faces."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from app.vision.yunet.faces import Face
from app.vision.yunet.framing import Floats, roll_of, side_of

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
FILE_NAME = "face_detection_yunet_2023mar.onnx"

# The file declares an input of 640x640 pixels, but its operations accept every multiple of 32. These bytes are both
# sizes in the declaration of the input; the new bytes have the same length and name the sizes instead. docs/adr/0012
# compares this with OpenCV's own engine, which needs no change of the file and takes three times as long.
_FIXED_SIZE = b"\n\x03\x08\x80\x05\n\x03\x08\x80\x05"
_ANY_SIZE = b"\n\x03\x12\x01h\n\x03\x12\x01w"

_STRIDES_PX = (8, 16, 32)
_MULTIPLE_PX = 32
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES_PX for kind in ("cls", "obj", "bbox", "kps")]
_SAME_FACE_OVERLAP = 0.3  # IoU, as in OpenCV Zoo

Pixels = npt.NDArray[np.uint8]


class DetectorModelError(Exception):
    """The model file of the detector cannot be used. The message says what was expected."""


class YuNet:
    """Loaded network. Thread-safe.

    Args:
        path: The ONNX file of OpenCV Zoo.

    Raises:
        DetectorModelError: The file is missing or is another file.
    """

    def __init__(self, path: Path) -> None:
        data = _read_verified(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # images are processed in parallel, not the parts of one image
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; each run warns that the sizes of the outputs are not the declared ones
        data = data.replace(_FIXED_SIZE, _ANY_SIZE)
        self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def find(self, pixels: Pixels, min_score: float) -> list[Face]:
        """Return the faces of an image at its own scale, in descending order of the score.

        Faces with a side of about 10 to 300 px are found.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            min_score: Smallest score of a face.
        """
        return [_to_face(*raw) for raw in self.find_raw(pixels, min_score)]

    def find_raw(self, pixels: Pixels, min_score: float) -> list[tuple[Floats, Floats, float]]:
        """Return the faces as the network describes them: box (left, top, width, height), landmarks (5, 2), score.

        The arguments are those of `find`.
        """
        height, width = pixels.shape[:2]
        margins = 0, -height % _MULTIPLE_PX, 0, -width % _MULTIPLE_PX
        padded = cv2.copyMakeBorder(pixels, *margins, cv2.BORDER_CONSTANT)
        outputs = self._session.run(_OUTPUTS, {"input": cv2.dnn.blobFromImage(padded, swapRB=True)})
        found = [
            _decode(
                stride, padded.shape[1] // stride, [np.asarray(each)[0] for each in outputs[at : at + 4]], min_score
            )
            for stride, at in zip(_STRIDES_PX, range(0, len(_OUTPUTS), 4), strict=True)
        ]
        boxes, landmarks, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_score, _SAME_FACE_OVERLAP) if len(boxes) else ()
        return [(boxes[index], landmarks[index], float(scores[index])) for index in kept]


def _to_face(box: Floats, landmarks: Floats, score: float) -> Face:
    width, height = float(box[2]), float(box[3])
    return Face(box[:2] + box[2:] / 2, side_of(width, height, landmarks), roll_of(landmarks), landmarks, score)


def _decode(
    stride: int, columns: int, outputs: list[npt.NDArray[np.float32]], min_score: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Return the boxes (N, 4), landmarks (N, 5, 2) and scores (N) of one output scale.

    Source: `FaceDetectorYNImpl::postProcess` in OpenCV.
    """
    classes, objects, boxes, landmarks = outputs
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    (cells,) = np.nonzero(scores >= min_score)
    rows, columns_of_cells = np.divmod(cells, columns)
    origins = np.stack([columns_of_cells, rows], axis=1).astype(np.float64)
    centres = (origins + boxes[cells, :2]) * stride
    sizes = np.exp(boxes[cells, 2:].astype(np.float64)) * stride
    points = (origins[:, np.newaxis] + landmarks[cells].reshape(-1, 5, 2)) * stride
    return np.hstack([centres - sizes / 2, sizes]), points, scores[cells]


def _read_verified(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorModelError(
            f"expected the model file of YuNet, {FILE_NAME}, at {path}. Received: {error.strerror}"
        ) from error
    received = hashlib.sha256(data).hexdigest()
    if received != SHA256:
        raise DetectorModelError(
            f"expected {FILE_NAME} of OpenCV Zoo with sha256 {SHA256} at {path}. Received: sha256 {received}"
        )
    return data
