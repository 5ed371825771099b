"""Plots of a hyper-parameter study."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import optuna
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from optuna.trial import TrialState
from optuna.visualization import matplotlib as optuna_plots

from training.drawing import save_figure

_TARGET = "accuracy on PublicTest"
_MIN_VALUES_FOR_IMPORTANCE = 2
_SLICE_WIDTH_IN, _SLICE_HEIGHT_IN = 3.6, 4.0


def plot_study(study: optuna.Study, folder: Path) -> None:
    """Write `history.png`, `slices.png` and, if the trials differ in accuracy, `importances.png`."""
    # optuna changes matplotlib's style for the whole process, and matplotlib warns about an axis with one value.
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attempting to set identical low and high", UserWarning)
        history = optuna_plots.plot_optimization_history(study, target_name=_TARGET)
        history.set_title("Optimisation history")
        history.xaxis.set_major_locator(MaxNLocator(integer=True))
        save_figure(history.figure, folder / "history.png", crop=True)
        slices = np.ravel(np.asarray(optuna_plots.plot_slice(study, target_name=_TARGET), dtype=object))
        _make_readable(slices)
        save_figure(slices[0].figure, folder / "slices.png", crop=True)
        complete = study.get_trials(states=(TrialState.COMPLETE,))
        if len({trial.value for trial in complete}) >= _MIN_VALUES_FOR_IMPORTANCE:
            importances = optuna_plots.plot_param_importances(study, target_name=_TARGET)
            importances.set_title("", loc="left")  # optuna's own title
            importances.set_title(f"Importance of each option for the {_TARGET}")
            save_figure(importances.figure, folder / "importances.png", crop=True)


def _make_readable(slices: npt.NDArray[np.object_]) -> None:
    figure = slices[0].figure
    figure.suptitle("")
    figure.set_size_inches(_SLICE_WIDTH_IN * len(slices), _SLICE_HEIGHT_IN)
    for axes in slices:
        if axes.get_xscale() == "log":
            axes.xaxis.set_minor_formatter(NullFormatter())  # the labels of a narrow range would overlap
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter("{x:g}")
