"""Layers that Keras has, made faster or exportable where its own are not (same weights, same sums), and one more."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="fer_serve")
class FastBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` whose training call is PyTorch's fused kernel on that backend.

    Keras composes the training call from moments and elementwise operations, which under bfloat16 on a CPU costs
    1.6 times the images per second of a whole VGG. On other backends this is exactly the Keras layer.

    The moving variance follows Keras (biased variance); `torch.nn.functional.batch_norm` would keep the unbiased one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalises a batch.

        Args:
            inputs: Any float dtype, (N, ..., C) or (N, C, ...) as `axis` says.
            training: Use this batch's statistics and update the moving ones.
            mask: As in Keras; a masked call takes Keras' own path.

        Returns:
            The same shape and dtype as `inputs`.
        """
        if keras.config.backend() != "torch" or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import torch

        if not training or not self.trainable:
            if self.axis != 1:
                return super().call(inputs, training=training)
            # Channels first: one operation that ONNX knows and ONNX Runtime folds into the convolution before it.
            return torch.nn.functional.batch_norm(
                inputs,
                self.moving_mean.value,
                self.moving_variance.value,
                None if self.gamma is None else self.gamma.value,
                None if self.beta is None else self.beta.value,
                eps=self.epsilon,
            )
        axis = self.axis % inputs.ndim
        channels_first = inputs.movedim(axis, 1)
        count = channels_first.numel() // channels_first.shape[1]
        mean, variance = self.moving_mean.value, self.moving_variance.value
        # The kernel blends in the unbiased variance: blend into a copy and undo n / (n - 1), to keep Keras' biased one.
        blended_mean, blended_variance = mean.detach().clone(), variance.detach().clone()
        normalised = torch.nn.functional.batch_norm(
            channels_first,
            blended_mean,
            blended_variance,
            None if self.gamma is None else self.gamma.value,
            None if self.beta is None else self.beta.value,
            training=True,
            momentum=1.0 - self.momentum,
            eps=self.epsilon,
        )
        unbiased_part = blended_variance - variance.detach() * self.momentum
        self.moving_mean.assign(blended_mean)
        self.moving_variance.assign(variance.detach() * self.momentum + unbiased_part * (count - 1) / count)
        return normalised.movedim(1, axis)


@keras.saving.register_keras_serializable(package="fer_serve")
class FastDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that draws its mask three times faster on the torch backend (uniform, not Bernoulli)."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Zeroes a share `rate` of the values and scales the others by 1 / (1 - rate), when training.

        Args:
            inputs: Any float dtype and shape.
            training: Else the inputs are returned.
        """
        if not training or keras.config.backend() != "torch" or self.noise_shape is not None or self.seed is not None:
            return super().call(inputs, training=training)
        import torch

        kept = torch.rand_like(inputs, dtype=torch.float32) >= self.rate
        return inputs * (kept.to(inputs.dtype) / (1 - self.rate))


@keras.saving.register_keras_serializable(package="fer_serve")
class ExportableLayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over one axis, on the torch backend with a width that ONNX's exporter knows.

    Keras asks the tensor for its width, which the exporter refuses as not constant, and takes only the last axis there.
    """

    def call(self, inputs: Any) -> Any:
        """Normalises every vector along `axis`; the same shape and dtype as `inputs`."""
        if keras.config.backend() != "torch":
            return super().call(inputs)
        import torch

        # Both ends as counted from the front: the exporter does not know -1.
        axis, last = self.axis[0] % inputs.ndim, inputs.ndim - 1
        vectors = inputs.movedim(axis, last).float()
        normalised = torch.nn.functional.layer_norm(
            vectors, tuple(self.gamma.shape), self.gamma.value, self.beta.value, eps=self.epsilon
        )
        return normalised.movedim(last, axis).to(inputs.dtype)


@keras.saving.register_keras_serializable(package="fer_serve")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned vector to every token: (N, tokens, width) to the same shape.

    The vectors start as large as what they are added to, or else the mean of the tokens tells nothing of their places.

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the vectors, (tokens, width)."""
        self.positions = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.5), name="positions"
        )

    def call(self, inputs: Any) -> Any:
        """Adds them."""
        return inputs + self.positions
