"""Checks that an ONNX graph passes before anything is written."""

from __future__ import annotations

import math

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


def check_accuracy_loss(
    before: float, after: float, precision: Precision, images: str = "PublicTest", limit: float = MAX_ACCURACY_LOSS
) -> None:
    """Check that a conversion to fewer bits keeps the accuracy.

    Args:
        before: Accuracy of the float32 graph, 0 to 1.
        after: Accuracy of the converted graph, 0 to 1.
        precision: Precision of the converted graph.
        images: Name of the images.
        limit: Largest loss, 0 to 1; see `allowed_loss`.

    Raises:
        TrainingError: The accuracy falls by more than the limit.
    """
    if before - after > limit:
        raise TrainingError(
            f"{precision} lowers the accuracy on {images} from {before:.2%} to {after:.2%}."
            f" The limit is a loss of {limit:.1%}. Nothing was written."
        )


def allowed_loss(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> float:
    """Return the largest loss of accuracy on a set of any size: 0.3 points, or two standard errors if these are more.

    Args:
        before: bool (N,), whether the float32 graph classifies each image correctly.
        after: bool (N,), the same for the converted graph.
    """
    return max(MAX_ACCURACY_LOSS, 2 * math.sqrt(int((before != after).sum())) / len(before))
