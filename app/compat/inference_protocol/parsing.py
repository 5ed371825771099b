"""Parsing of inference requests: a JSON document, and binary tensor data after it, become crops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from app.api.parsing.json_body import decode_json
from app.compat.inference_protocol.schemas import (
    MAX_OUTPUTS,
    InferenceRequest,
    InputTensor,
    RequestedOutput,
    TensorMetadata,
)
from app.contract.manifest import TensorSpec
from app.errors import ErrorCode, FerError

HEADER_LENGTH = "Inference-Header-Content-Length"
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}

_MAX_DIGITS = 20  # Python refuses to convert thousands of digits
_MAX_OUTPUTS_BYTES = 10_000  # 8 outputs with all parameters have about 1,500
_MAX_LEVEL = np.iinfo(np.uint8).max
_Level = Annotated[int, msgspec.Meta(ge=0, le=_MAX_LEVEL)]
_Outputs = Annotated[list[RequestedOutput], msgspec.Meta(max_length=MAX_OUTPUTS)]


def read_document(body: bytes, headers: Mapping[str, str]) -> tuple[InferenceRequest, bytes]:
    """Return the JSON document of a request and the bytes that follow it.

    Raises:
        FerError: `malformed_request`.
    """
    declared = headers.get(HEADER_LENGTH, str(len(body)))
    is_number = declared.isascii() and declared.isdigit() and len(declared) <= _MAX_DIGITS
    if not (is_number and int(declared) <= len(body)):
        raise FerError(
            ErrorCode.MALFORMED_REQUEST, f"{HEADER_LENGTH} must be at most {len(body)}. Received: {declared[:20]}"
        )
    length = int(declared)
    return decode_json(body[:length], InferenceRequest), body[length:]


def read_crops(request: InferenceRequest, binary: bytes, spec: TensorSpec, max_batch: int) -> npt.NDArray[np.uint8]:
    """Return the crops of a request.

    Args:
        request: The JSON document.
        binary: The bytes that follow the document.
        spec: The input of the model.
        max_batch: Maximum number of crops.

    Returns:
        Grey levels, uint8 of shape [N, 48, 48, 1].

    Raises:
        FerError: `invalid_parameter`.
    """
    (tensor,) = request.inputs
    if tensor.name != spec.name:
        raise _invalid(f"expected one input named {spec.name}. Received: {tensor.name[:100]}")
    _check_shape(tensor, describe_tensor(spec), max_batch)
    if tensor.parameters.binary_data_size is not None:
        return _binary_levels(tensor, binary).reshape(tensor.shape)
    return _json_levels(tensor).reshape(tensor.shape)


def wants_binary(request: InferenceRequest, spec: TensorSpec) -> bool:
    """Return whether the client requests the output as binary data.

    Raises:
        FerError: `invalid_parameter`: the request names another output than `spec`; `malformed_request`: its outputs
            have another type or are too long.
    """
    outputs = _requested_outputs(request)
    names = [output.name for output in outputs]
    if names not in ([], [spec.name]):
        raise _invalid(f"expected one output named {spec.name}. Received: {', '.join(names)[:100]}")
    binary_data = outputs[0].parameters.binary_data if outputs else None
    return request.parameters.binary_data_output if binary_data is None else binary_data


def describe_tensor(spec: TensorSpec) -> TensorMetadata:
    """Return a tensor of the model in the protocol's terms."""
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return TensorMetadata(name=spec.name, datatype=DATATYPES[spec.dtype], shape=shape)


def _requested_outputs(request: InferenceRequest) -> list[RequestedOutput]:
    size = len(bytes(request.outputs))
    if size > _MAX_OUTPUTS_BYTES:
        detail = f"outputs: expected at most {_MAX_OUTPUTS_BYTES} bytes. Received: {size}"
        raise FerError(ErrorCode.MALFORMED_REQUEST, detail)
    return decode_json(request.outputs, _Outputs) if size else []


def _check_shape(tensor: InputTensor, expected: TensorMetadata, max_batch: int) -> None:
    if tensor.datatype != expected.datatype:
        raise _invalid(f"{tensor.name} must be {expected.datatype}. Received: {tensor.datatype[:20]}")
    if list(tensor.shape[1:]) != expected.shape[1:] or not 1 <= tensor.shape[0] <= max_batch:
        raise _invalid(
            f"{tensor.name} must be [N, {', '.join(map(str, expected.shape[1:]))}], N from 1 to {max_batch}."
            f" Received: {str(list(tensor.shape))[:100]}"
        )


def _json_levels(tensor: InputTensor) -> npt.NDArray[np.uint8]:
    if not tensor.has_data:
        raise _invalid(f"{tensor.name}: expected data or binary_data_size. Received: neither")
    values: Sequence[Any]
    try:
        values = decode_json(tensor.data, list[_Level], ErrorCode.INVALID_PARAMETER)
    except FerError:  # not a flat list
        values = _nested_levels(tensor)
    else:
        _check_count(tensor, len(values))
    return np.array(values, dtype=np.uint8)


def _nested_levels(tensor: InputTensor) -> Sequence[Any]:
    try:
        return decode_json(tensor.data, _nested_type(*tensor.shape), ErrorCode.INVALID_PARAMETER)
    except FerError:
        raise _invalid(
            f"{tensor.name}: data must be whole numbers from 0 to {_MAX_LEVEL}, in a flat list or nested as its shape"
        ) from None


@lru_cache(maxsize=16)
def _nested_type(rows: int, *sizes: int) -> Any:
    """Return the type of nested lists of exactly this shape.

    msgspec stops at the first list of another length, so decoding never builds more lists than the shape has. It
    checks the length of a list at its end and the length of a tuple at every element: the outermost type is a tuple.
    """
    row: Any = _Level
    for size in reversed(sizes):
        row = Annotated[list[row], msgspec.Meta(min_length=size, max_length=size)]
    return tuple[(row,) * rows]  # type: ignore[misc]  # built at run time


def _binary_levels(tensor: InputTensor, binary: bytes) -> npt.NDArray[np.uint8]:
    if tensor.has_data:
        raise _invalid(f"{tensor.name}: expected data or binary_data_size. Received: both")
    if len(binary) != tensor.parameters.binary_data_size:
        raise _invalid(
            f"{tensor.name}: binary_data_size is {tensor.parameters.binary_data_size}. Received: {len(binary)} bytes"
        )
    _check_count(tensor, len(binary))
    return np.frombuffer(binary, dtype=np.uint8)


def _check_count(tensor: InputTensor, received: int) -> None:
    expected = math.prod(tensor.shape)
    if received != expected:
        raise _invalid(f"{tensor.name} needs {expected} numbers for its shape. Received: {received}")


def _invalid(detail: str) -> FerError:
    return FerError(ErrorCode.INVALID_PARAMETER, detail)
