"""Training of the face verifier."""

from __future__ import annotations

import keras

from training.fit.backend import prepare_backend
from training.verifier.config import VerifierConfig
from training.verifier.network import build
from training.verifier.samples import Batches, Sources


def fit(config: VerifierConfig, sources: Sources) -> keras.Model:
    """Train the network from random weights and return it.

    Args:
        config: The recipe.
        sources: Faces of FER2013's Training split, and crops without faces.
    """
    prepare_backend("float32", config.seed)
    model = build(config.widths)
    steps = config.epochs * config.steps_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - steps // 10), warmup_target=config.learning_rate, warmup_steps=steps // 10
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
    model.compile(optimizer, loss, metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)])
    model.fit(Batches(sources, config), epochs=config.epochs, shuffle=False, verbose=2)
    return model
