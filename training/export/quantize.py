"""The same network in fewer bits: half floats, or 8-bit integers calibrated on Training. In and out: ONNX graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from app.contract.manifest import Precision

# Most accuracy on PublicTest that fewer bits may cost.
LARGEST_LOSS = 0.003

_CALIBRATION_IMAGES = 1024
_BATCH = 64


def convert(graph: onnx.ModelProto, precision: Precision, images: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    """Gives a graph another precision. Names and types of its input and output stay.

    Args:
        graph: In float32; not changed.
        precision: `float32` gives the graph back.
        images: uint8 (N, 48, 48, 1) of Training; for `int8`, the ranges of activations are measured on 1,024 of them.

    Returns:
        The converted graph. `int8` is a QDQ graph: weights by channel, in 7 bits, because processors without VNNI add
        the products of 8-bit weights in 16 bits, which overflow; activations unsigned, by tensor.
    """
    match precision:
        case "float32":
            return graph
        case "float16":
            converted: onnx.ModelProto = convert_float_to_float16(graph, keep_io_types=True)
            return converted
        case "int8":
            with tempfile.TemporaryDirectory() as folder:
                source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
                onnx.save(graph, source)
                quantize_static(
                    source,
                    target,
                    _Calibration(images),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                    reduce_range=True,
                    calibrate_method=CalibrationMethod.MinMax,
                )
                return onnx.load(target)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """The same images in each export: drawn with a fixed seed."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        chosen = np.random.default_rng(0).permutation(len(images))[:_CALIBRATION_IMAGES]
        self._batches: Iterator[dict[str, Any]] = (
            {"image": images[chosen[start : start + _BATCH]]} for start in range(0, len(chosen), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch for the network; None after the last."""
        return next(self._batches, None)
