"""Draws the figures of one setting: over the epochs, over seeds, and against cost. Each has a panel for each architecture."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.canvas import GREY, STYLE, entitle, folded, legend, name_panel, palette, panels
from analysis.cost import cost
from analysis.plots import Data
from analysis.strip import strip

Dash = tuple[float, ...]

# One for each of `plots.MOST_SHOWN`, and only one is solid: of lines on top of each other some of each is seen.
_DASHES: tuple[Dash, ...] = (
    (), (4, 2), (1, 1), (3, 1.5, 1, 1.5), (6, 4), (5, 2, 1, 2, 1, 2), (2, 2), (7, 2, 2, 2), (1, 2),
)  # fmt: skip


def draw(data: Data) -> dict[str, Figure]:
    """The figures by name; those that need what no run has are left out."""
    drawn: dict[str, Figure | None] = {}
    with sns.axes_style("whitegrid"), mpl.rc_context(STYLE):
        drawn["curves"] = _over_epochs(data, {"test_fine_acc": "fine test accuracy (%)"}, "Fine test accuracy")
        drawn["weights"] = _over_epochs(
            data,
            {"fine_weight": "weight of the fine loss", "coarse_weight": "weight of the coarse loss", "conflict_rate": "share of conflicts"},
            "Effective weights of the losses, and share of steps whose trunk gradients conflict",
        )
        drawn["strip"] = strip(data)
        drawn["cost"] = cost(data)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _over_epochs(data: Data, measures: Mapping[str, str], title: str) -> Figure | None:
    known = {column: name for column, name in measures.items() if data.epochs[column].notna().any()}
    if not known:
        return None
    figure, drawn = panels(data, len(known))
    for row, (column, name) in enumerate(known.items()):
        for place, architecture in enumerate(data.table.columns):
            axes = drawn[row][place]
            rows = data.epochs[(data.epochs["architecture"] == architecture) & data.epochs[column].notna()]
            _lines(axes, rows, column, data)
            axes.set_ylabel(name if place == 0 else "")
            axes.set_xlabel("epoch" if row == len(known) - 1 else "")
            if row == 0:
                name_panel(axes, architecture, rows)
    _explain(figure, data, set(data.epochs.loc[data.epochs[list(known)].notna().any(axis=1), "strategy"]))
    entitle(figure, data, title, "mean over seeds, band ± sample standard deviation")
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, column: str, data: Data) -> None:
    for _, others in rows[~rows["strategy"].isin(data.shown)].groupby("strategy"):
        mean = others.groupby("epoch")[column].mean()
        axes.plot(mean.index, mean.to_numpy(), color=GREY, linewidth=0.7, zorder=1)
    shown = rows[rows["strategy"].isin(data.shown)].astype({"epoch": float, column: float})
    if not shown.empty:
        dashes = _dashes(data)
        # What hides the most of what is below it comes first.
        order = sorted(data.shown, key=lambda name: -_ink(dashes[name]))
        sns.lineplot(
            shown, x="epoch", y=column, errorbar="sd", legend=False, ax=axes, hue="strategy", hue_order=order, palette=palette(data.shown),
            style="strategy", style_order=order, dashes={name: dash or "" for name, dash in dashes.items()},
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not rows.empty and rows[column].min() >= 0:
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))  # of a mean near 0 the band would go below


def _explain(figure: Figure, data: Data, drawn: set[str]) -> None:
    """A legend of the strategies that are drawn."""
    colours, dashes = palette(data.shown), _dashes(data)
    lines = [
        Line2D([], [], color=colours[name], linestyle=(0, dashes[name]) if dashes[name] else "-", label=folded(name))
        for name in data.shown
        if name in drawn
    ]
    legend(figure, lines, len(drawn - set(data.shown)))


def _dashes(data: Data) -> dict[str, Dash]:
    return {name: _DASHES[place % len(_DASHES)] for place, name in enumerate(data.shown)}


def _ink(dash: Dash) -> float:
    """The share of a line's length that is drawn."""
    return sum(dash[::2]) / sum(dash) if dash else 1.0
