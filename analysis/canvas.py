"""What the figures of a setting share: their panels, title and legend, the looks of a strategy, and which accuracies an axis covers."""

import textwrap
from itertools import cycle
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots import Data

Colour = tuple[float, float, float]

GREY = "0.75"
PANEL = (4.0, 3.2)  # inches
_LEGEND = 1.9  # inches
_LETTERS = 30  # of a name on a line: names of a search's trials would leave no room for the panels
_DASHES = ((), (4, 1.5), (1, 1), (3, 1, 1, 1))  # so that lines on top of each other are seen
# Without the grey one, which is the others'.
_COLOURS = [colour for place, colour in enumerate(sns.color_palette("colorblind", 10)) if place != 7]
STYLE: Any = {
    "svg.fonttype": "path",  # letters as outlines: the same everywhere
    "svg.hashsalt": "mtlsweep",  # ids that do not change with each drawing
    "axes.titlesize": "medium",
    "legend.frameon": False,
}


def panels(data: Data, rows: int, height: float = PANEL[1]) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a panel for each architecture in each of some rows."""
    columns = len(data.table.columns)
    figure = Figure(figsize=(max(PANEL[0] * columns + _LEGEND, 6.5), height * rows + 0.4), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def finish(figure: Figure, data: Data, title: str) -> Figure:
    """The title, and a legend of the strategies in colour beside the panels."""
    figure.suptitle(f"{title}\n{data.table.title}", fontsize="medium")
    colours, dashing = palette(data), dashes(data)
    lines = [
        Line2D([], [], color=colours[name], linestyle=(0, dashing[name]) if dashing[name] else "-", label=folded(name))
        for name in data.shown
    ]
    others = len(data.table.rows) - len(data.shown)
    grey = [Line2D([], [], color=GREY, label=f"{others} others")] if others else []
    figure.legend(handles=[*lines, *grey], loc="outside right center", fontsize="small")
    return figure


def folded(name: str) -> str:
    """The name on as many lines as it takes."""
    return "\n".join(textwrap.wrap(name, _LETTERS, break_long_words=False))


def palette(data: Data) -> dict[str, Colour]:
    """The colour of each strategy to show."""
    return dict(zip(data.shown, cycle(_COLOURS), strict=False))


def dashes(data: Data) -> dict[str, tuple[float, ...]]:
    """The dashes of each strategy to show."""
    return {name: _DASHES[place % len(_DASHES)] for place, name in enumerate(data.shown)}


def span(lowest: pd.Series, highest: pd.Series | None = None) -> tuple[float, float]:
    """Limits of an accuracy axis on which those who come close to the best can be told apart: collapsed strategies are outside."""
    if lowest.empty:  # no run has ended
        return 0.0, 100.0
    top, middle = float((lowest if highest is None else highest).max()), float(lowest.median())
    bottom = float(lowest[lowest >= middle - 3 * (top - middle) - 1].min())
    margin = 0.06 * (top - bottom) + 0.05
    return bottom - margin, top + margin


def seeds(rows: pd.DataFrame) -> str:
    """Of how many seeds the strategies are: `n=1 to 3`."""
    counts = rows.groupby("strategy")["seed"].nunique()
    if counts.empty:
        return "no run"
    low, high = counts.min(), counts.max()
    return f"n={low}" if low == high else f"n={low} to {high}"
