"""Figures in the style of the pages, by Matplotlib's object interface; Matplotlib is loaded when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, DARK, GREY = "#0072B2", "#D55E00", "#009E73", "#A6568A", "#444444", "#8a939c"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, DARK, "#E69F00", "#56B4E9", GREY)
"""For lines that are compared; most people with colour blindness can tell them apart."""
SIZE = (5.4, 3.1)
"""Of a figure of which two stand side by side, in inches."""
_STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,
    "svg.hashsalt": "s2mnet",  # the same data give the same file
}


def draw_figure(
    draw: Callable[[Figure], None], size: tuple[float, float] = SIZE, form: Literal["svg", "png"] = "svg"
) -> bytes:
    """A figure as a file.

    Args:
        draw: draws on an empty figure.
        size: width and height in inches.
        form: of the file.

    Example:
        >>> draw_figure(lambda figure: figure.subplots().plot([1, 2]))[:5]
        b'<?xml'
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=130, metadata=metadata)
    return buffer.getvalue()
