"""The history of a run for TensorBoard, beside `history.csv`.

`keras.callbacks.TensorBoard` writes with TensorFlow and needs `Model.fit`. This module writes the same files with
PyTorch. Only this module needs the package tensorboard, which is optional: `requirements/tensorboard.txt`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from training.errors import TrainingError

History = Sequence[Mapping[str, float]]
HistoryLog = Callable[[History], None]

_VALIDATION = "val_"


def no_log(history: History) -> None:
    """Write nothing."""


def check_tensorboard(folder: Path | None) -> None:
    """Check that a log can be written, before the images are read.

    Args:
        folder: Value of `--tensorboard`; None if it is not given.

    Raises:
        TrainingError: The package tensorboard is missing.
    """
    if folder is not None and importlib.util.find_spec("tensorboard") is None:
        raise TrainingError(
            "--tensorboard: expected the package tensorboard. Received: it is not installed. Install it with"
            " `python -m pip install -r requirements/tensorboard.txt`, or leave out --tensorboard: history.csv has the"
            " same figures."
        )


@contextmanager
def tensorboard_log(folder: Path | None) -> Iterator[HistoryLog]:
    """Yield a function that writes the new epochs of a history for TensorBoard.

    The folder gets the runs `train` and `validation`, as with the callback of Keras. The first call writes all epochs
    and replaces those of earlier sessions, so a resumed run has one curve. Epochs count from 1, as in `history.csv`.

    Args:
        folder: Folder of the log; None: write nothing.
    """
    if folder is None:
        yield no_log
        return
    from torch.utils.tensorboard import SummaryWriter

    with (
        SummaryWriter(str(folder / "train"), purge_step=0) as train,
        SummaryWriter(str(folder / "validation"), purge_step=0) as validation,
    ):
        written = 0

        def write(history: History) -> None:
            nonlocal written
            for epoch, figures in enumerate(history[written:], start=written + 1):
                for name, value in figures.items():
                    writer = validation if name.startswith(_VALIDATION) else train
                    writer.add_scalar(f"epoch_{name.removeprefix(_VALIDATION)}", value, epoch)
            written = len(history)
            train.flush()
            validation.flush()

        yield write
