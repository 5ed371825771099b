"""The config of a fine-tuning run: a recipe, the network of the model, and options of the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.config import TrainConfig, load_recipe
from training.config.sections import ModelConfig

DEFAULT_RECIPE = Path(__file__).parent / "default.toml"
# Number of training images up to which a number of epochs applies: fewer images, more epochs.
_EPOCHS = ((1_000, 20), (5_000, 10), (20_000, 8), (50_000, 6))
_EPOCHS_OF_MORE = 4
_MIN_STEPS = 8  # batches per epoch


def build_config(
    recipe: Path,
    model: ModelConfig,
    warm_start: Path,
    images: int,
    *,
    name: str,
    seed: int | None,
    epochs: int | None,
    frozen_layers: Sequence[str],
) -> TrainConfig:
    """Return the config of a run.

    Args:
        recipe: TOML file: a config without `name`, `model` and `warm_start`.
        model: Network of the model.
        warm_start: Run folder with the weights of the model.
        images: Number of training images. It decides the number of epochs, unless the recipe or `epochs` does, and
            limits the batch size, so that an epoch has at least 8 batches.
        name: Name of the run.
        seed: Replaces the seed of the recipe.
        epochs: Replaces the epochs of the recipe.
        frozen_layers: Layers that are not trained, in addition to those of the recipe; see `TrainConfig`.

    Raises:
        TrainingError: The recipe cannot be read, breaks the schema, or sets a key that the model decides.
    """
    config = load_recipe(
        recipe,
        defaults={"seed": 1, "epochs": epochs_for(images)},
        required={"name": name, "model": model, "warm_start": warm_start},
        replaced={"seed": seed, "epochs": epochs},
    )
    return config.model_copy(
        update={
            "batch_size": min(config.batch_size, max(1, images // _MIN_STEPS)),
            "frozen_layers": (*config.frozen_layers, *frozen_layers),
        }
    )


def epochs_for(images: int) -> int:
    """Return the number of epochs for a number of training images."""
    return next((epochs for limit, epochs in _EPOCHS if images <= limit), _EPOCHS_OF_MORE)
