"""Output of matplotlib figures: PNG files of one resolution, without a window system."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure, SubFigure

mpl.use("Agg")

_DPI = 120


def save_figure(figure: Figure | SubFigure, path: Path, *, crop: bool = False) -> None:
    """Write a figure as PNG and release its memory.

    Args:
        figure: Figure created with `matplotlib.pyplot`.
        path: PNG file to write.
        crop: Cut off the white border.
    """
    whole = figure.get_figure(root=True)
    whole.savefig(path, dpi=_DPI, bbox_inches="tight" if crop else None)
    plt.close(whole)
