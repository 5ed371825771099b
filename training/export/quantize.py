"""Conversion of an ONNX graph to float16 or int8."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

_CALIBRATION_IMAGES = 1024
_BATCH = 64


def convert(
    graph: onnx.ModelProto, precision: Literal["float16", "int8"], images: npt.NDArray[np.uint8]
) -> onnx.ModelProto:
    """Convert a float32 graph to fewer bits. Names and types of input and output stay the same.

    `int8` gives a QDQ graph with unsigned activations per tensor and weights per channel. The weights have 7 bits:
    processors without VNNI add products of 8-bit weights in 16 bits, which overflows.

    Args:
        graph: float32 graph. It is not modified.
        precision: Precision of the result.
        images: uint8 (N, 48, 48, 1) of Training. `int8` measures the ranges of the activations on 1,024 of them.
    """
    match precision:
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
                    _CalibrationImages(images),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                    reduce_range=True,
                    calibrate_method=CalibrationMethod.MinMax,
                )
                return onnx.load(target)


class _CalibrationImages(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type annotations
    """Batches of 1,024 images, drawn with a fixed seed so that every export uses the same images."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        chosen = np.random.default_rng(0).permutation(len(images))[:_CALIBRATION_IMAGES]
        self._batches: Iterator[dict[str, Any]] = (
            {"image": images[chosen[start : start + _BATCH]]} for start in range(0, len(chosen), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch as input of the network; None after the last batch."""
        return next(self._batches, None)
