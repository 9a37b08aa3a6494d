"""Draws the figures of one setting: over the epochs, over seeds, and against cost. Each has a panel for each architecture."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.canvas import GREY, STYLE, dashes, finish, palette, panels, seeds
from analysis.cost import cost
from analysis.plots import Data
from analysis.strip import strip


def draw(data: Data) -> dict[str, Figure]:
    """The figures by name; those that need what no run has are left out."""
    drawn: dict[str, Figure | None] = {}
    with sns.axes_style("whitegrid"), mpl.rc_context(STYLE):
        drawn["curves"] = _over_epochs(data, {"test_fine_acc": "fine test accuracy (%)"}, "Fine test accuracy")
        drawn["weights"] = _over_epochs(
            data,
            {"fine_weight": "weight of the fine loss", "coarse_weight": "weight of the coarse loss", "conflict_rate": "share of conflicts"},
            "Effective weights of the two losses, and share of steps whose trunk gradients conflict",
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
            rows = data.epochs[(data.epochs["architecture"] == architecture) & data.epochs[column].notna()]
            _lines(drawn[row][place], rows, column, data)
            drawn[row][place].set_ylabel(name if place == 0 else "")
            drawn[row][place].set_xlabel("epoch" if row == len(known) - 1 else "")
            if row == 0:
                drawn[row][place].set_title(f"{architecture} ({seeds(rows)})")
    return finish(figure, data, f"{title}: mean over seeds, band ± sample standard deviation")


def _lines(axes: Axes, rows: pd.DataFrame, column: str, data: Data) -> None:
    for _, others in rows[~rows["strategy"].isin(data.shown)].groupby("strategy"):
        mean = others.groupby("epoch")[column].mean()
        axes.plot(mean.index, mean.to_numpy(), color=GREY, linewidth=0.7, zorder=1)
    shown = rows[rows["strategy"].isin(data.shown)].astype({"epoch": float, column: float})
    if not shown.empty:
        sns.lineplot(
            shown, x="epoch", y=column, errorbar="sd", legend=False, ax=axes, hue="strategy", hue_order=data.shown, palette=palette(data),
            style="strategy", style_order=data.shown, dashes=[dash or "" for dash in dashes(data).values()],
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
