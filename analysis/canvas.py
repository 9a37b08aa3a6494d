"""What the figures of a setting share: their panels, title and legend, the looks of a strategy, and which accuracies an axis covers."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
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
_LINE = 0.17  # inches of height that a line of small letters takes
_LETTERS = 30  # of a name on a line: names of a search's trials would leave no room for the panels
# Without the grey one, which is the others'.
_COLOURS = [colour for place, colour in enumerate(sns.color_palette("colorblind", 10)) if place != 7]
STYLE: Any = {
    "axes.titlesize": "medium",
    "legend.frameon": False,
}


def panels(data: Data, rows: int, height: float = PANEL[1], lines: int = 0) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a panel for each architecture in each of some rows, with room for some more lines of text than one below each."""
    columns = len(data.table.columns)
    size = (max(PANEL[0] * columns + _LEGEND, 6.5), (height + _LINE * lines) * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def name_panel(axes: Axes, architecture: str, rows: pd.DataFrame, without: str = "no run") -> None:
    """The panel's title: its architecture, and of how many seeds it is drawn; or why there are none."""
    axes.set_title(f"{architecture} ({without if rows.empty else _seeds(rows)})")


def entitle(figure: Figure, data: Data, title: str, *notes: str) -> None:
    """The title, notes on what is drawn, and the setting above the panels; lines are broken where the figure ends."""
    figure.suptitle("\n".join([title, *notes, data.table.title]), fontsize="medium", wrap=True)


def legend(figure: Figure, handles: Sequence[Line2D], others: int, **grey: Any) -> None:
    """What the marks stand for, beside the panels, which grow where it is higher; the others are in grey."""
    last = [Line2D([], [], color=GREY, label=f"{others} other{'s' * (others != 1)}", **grey)] if others else []
    shown = [*handles, *last]
    figure.legend(handles=shown, loc="outside right center", fontsize="small")
    lines = sum(str(handle.get_label()).count("\n") + 1 for handle in shown) + 0.6 * len(shown)
    figure.set_figheight(max(figure.get_figheight(), _LINE * lines + 0.8))


def folded(name: str, letters: int = _LETTERS) -> str:
    """The name on as many lines as it takes."""
    return "\n".join(textwrap.wrap(name, letters, break_long_words=False))


def palette(names: Iterable[str]) -> Mapping[str, Colour]:
    """A colour for each name, the same for the same place."""
    return dict(zip(names, cycle(_COLOURS), strict=False))


def span(lowest: pd.Series, highest: pd.Series | None = None) -> tuple[float, float]:
    """Limits of an accuracy axis on which those who come close to the best can be told apart: collapsed strategies are outside."""
    if lowest.empty:  # no run has ended
        return 0.0, 100.0
    top, middle = float((lowest if highest is None else highest).max()), float(lowest.median())
    bottom = float(lowest[lowest >= middle - 3 * (top - middle) - 1].min())
    margin = 0.06 * (top - bottom) + 0.05
    return bottom - margin, top + margin


def _seeds(rows: pd.DataFrame) -> str:
    counts = rows.groupby("strategy")["seed"].nunique()
    low, high = counts.min(), counts.max()
    return f"n={low}" if low == high else f"n={low} to {high}"
