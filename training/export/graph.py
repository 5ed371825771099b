"""Conversion of a Keras network into an ONNX graph."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime as ort

from app.contract.manifest import INPUT_SHAPE, OUTPUT_SHAPE


def to_onnx(served: keras.Model, folder: Path) -> onnx.ModelProto:
    """Export a network with Keras, optimise the graph with ONNX Runtime and name its output `logits`.

    The optimisations are portable: constant folding and removal of needless nodes, no kernels of one processor.

    Args:
        served: Network in its SERVED form.
        folder: Existing folder for intermediate files.

    Returns:
        Graph from `image` uint8 (batch, 48, 48, 1) to `logits` float32 (batch, 7).
    """
    raw, optimised = folder / "raw.onnx", folder / "optimised.onnx"
    served(np.zeros((1, *served.input_shape[1:]), np.uint8))  # Keras exports a model only after a call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's tracer warns about Keras' shape checks, which are constants here
        served.export(raw, format="onnx", verbose=False)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(optimised)
    ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    model = onnx.load(optimised)
    _tidy(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def open_graph(graph: onnx.ModelProto) -> ort.InferenceSession:
    """Return a CPU session of a graph in memory."""
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def _tidy(model: onnx.ModelProto) -> None:
    """Set the names of the output and of the batch dimension, and drop what the optimiser left unused."""
    _rename_output(model.graph, "logits")
    for value, shape in ((model.graph.input[0], INPUT_SHAPE), (model.graph.output[0], OUTPUT_SHAPE)):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = str(shape[0])
    del model.graph.value_info[:]
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version = "fer-serve", ""


def _rename_output(graph: onnx.GraphProto, name: str) -> None:
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = [name if existing == output.name else existing for existing in node.output]
    output.name = name
