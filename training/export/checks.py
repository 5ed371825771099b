"""Checks that an ONNX graph passes before anything is written."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from app.contract.manifest import Precision
from training.errors import TrainingError

PARITY = 1e-4
RELATIVE_PARITY = 1e-5  # an untrained network can have logits of several hundred, where 1e-4 is a rounding error
PARITY_BATCHES = (1, 2, 64)
MAX_ACCURACY_LOSS = 0.003  # on PublicTest, by conversion to float16 or int8
ALLOWED_BETWEEN_CONVOLUTIONS = frozenset({"Conv", "Relu", "MaxPool"})


def check_plain(graph: onnx.ModelProto) -> None:
    """Check that a graph has only convolutions, ReLU and max-pooling between its first and last convolution.

    Raises:
        TrainingError: The graph has other operations there, for example a batch normalisation that was not folded.
    """
    operations = [node.op_type for node in graph.graph.node]
    convolutions = [index for index, operation in enumerate(operations) if operation == "Conv"]
    between = set(operations[convolutions[0] : convolutions[-1] + 1]) if convolutions else set()
    if not between or not between <= ALLOWED_BETWEEN_CONVOLUTIONS:
        raise TrainingError(
            f"expected only {sorted(ALLOWED_BETWEEN_CONVOLUTIONS)} between the convolutions of the ONNX graph."
            f" Received: {sorted(between - ALLOWED_BETWEEN_CONVOLUTIONS)}. Nothing was written."
        )


def check_parity(session: ort.InferenceSession, trained: keras.Model, images: npt.NDArray[np.uint8]) -> None:
    """Check that the graph computes the logits of the trained Keras model at batches of 1, 2 and 64 images.

    Args:
        session: Session of the graph.
        trained: Model with one output, the logits (N, 7).
        images: uint8 (N, 48, 48, 1).

    Raises:
        TrainingError: A logit differs by more than 1e-4 plus 1e-5 of its value.
    """
    for batch in PARITY_BATCHES:
        chosen = images[:batch]
        expected = np.asarray(trained.predict(chosen, batch_size=batch, verbose=0))
        (received,) = session.run(["logits"], {"image": chosen})
        if not np.allclose(received, expected, rtol=RELATIVE_PARITY, atol=PARITY):
            worst = np.unravel_index(np.abs(expected - received).argmax(), expected.shape)
            raise TrainingError(
                f"ONNX and Keras differ at batch {batch}: {received[worst]:.7g} and {expected[worst]:.7g} for one"
                f" logit. The limit is {PARITY:g} plus {RELATIVE_PARITY:g} of the logit. Nothing was written."
            )


def check_accuracy_loss(before: float, after: float, precision: Precision) -> None:
    """Check that a conversion to fewer bits keeps the accuracy on PublicTest.

    Args:
        before: Accuracy of the float32 graph, 0 to 1.
        after: Accuracy of the converted graph, 0 to 1.
        precision: Precision of the converted graph.

    Raises:
        TrainingError: The accuracy falls by more than 0.3 points.
    """
    if before - after > MAX_ACCURACY_LOSS:
        raise TrainingError(
            f"{precision} lowers the accuracy on PublicTest from {before:.2%} to {after:.2%}."
            f" The limit is a loss of {MAX_ACCURACY_LOSS:.1%}. Nothing was written."
        )
