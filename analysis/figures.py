"""Draws the figures of one setting: over the epochs, over seeds, and against cost. Each has a panel for each architecture."""

import textwrap
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.plots import Data

Colour = tuple[float, float, float]

_GREY = "0.75"
_PANEL = (4.0, 3.2)  # inches
_LEGEND = 1.9  # inches
_LETTERS = 30  # of a name on a line: names of a search's trials would leave no room for the panels
_DASHES = ((), (4, 1.5), (1, 1), (3, 1, 1, 1))  # so that lines on top of each other are seen
# Without the grey one, which is the others'.
_COLOURS = [colour for place, colour in enumerate(sns.color_palette("colorblind", 10)) if place != 7]
_STYLE: Any = {
    "svg.fonttype": "path",  # letters as outlines: the same everywhere
    "svg.hashsalt": "mtlsweep",  # ids that do not change with each drawing
    "axes.titlesize": "medium",
    "legend.frameon": False,
}


def draw(data: Data) -> dict[str, Figure]:
    """The figures by name; those that need what no run has are left out."""
    drawn: dict[str, Figure | None] = {}
    with sns.axes_style("whitegrid"), mpl.rc_context(_STYLE):
        drawn["curves"] = _over_epochs(data, {"test_fine_acc": "fine test accuracy (%)"}, "Fine test accuracy")
        drawn["weights"] = _over_epochs(
            data,
            {"fine_weight": "weight of the fine loss", "coarse_weight": "weight of the coarse loss", "conflict_rate": "share of conflicts"},
            "Effective weights of the two losses, and share of steps whose trunk gradients conflict",
        )
        drawn["strip"] = _strip(data)
        drawn["cost"] = _cost(data)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _over_epochs(data: Data, measures: Mapping[str, str], title: str) -> Figure | None:
    known = {column: name for column, name in measures.items() if data.epochs[column].notna().any()}
    if not known:
        return None
    figure, panels = _panels(data, len(known))
    for row, (column, name) in enumerate(known.items()):
        for place, architecture in enumerate(data.table.columns):
            rows = data.epochs[(data.epochs["architecture"] == architecture) & data.epochs[column].notna()]
            _lines(panels[row][place], rows, column, data)
            panels[row][place].set_ylabel(name if place == 0 else "")
            panels[row][place].set_xlabel("epoch" if row == len(known) - 1 else "")
            if row == 0:
                panels[row][place].set_title(f"{architecture} ({_seeds(rows)})")
    return _finish(figure, data, f"{title}: mean over seeds, band ± sample standard deviation")


def _lines(axes: Axes, rows: pd.DataFrame, column: str, data: Data) -> None:
    for _, others in rows[~rows["strategy"].isin(data.shown)].groupby("strategy"):
        mean = others.groupby("epoch")[column].mean()
        axes.plot(mean.index, mean.to_numpy(), color=_GREY, linewidth=0.7, zorder=1)
    shown = rows[rows["strategy"].isin(data.shown)].astype({"epoch": float, column: float})
    if not shown.empty:
        sns.lineplot(
            shown, x="epoch", y=column, errorbar="sd", legend=False, ax=axes, hue="strategy", hue_order=data.shown, palette=_palette(data),
            style="strategy", style_order=data.shown, dashes=[dash or "" for dash in _dashes(data).values()],
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _strip(data: Data) -> Figure:
    """Every seed's best accuracy as a point, the mean as a bar; a strategy far below the others is named at the edge."""
    names = list(data.table.rows)
    shown = [_folded(name) for name in names]
    figure, panels = _panels(data, 1, height=max(_PANEL[1], 0.3 * len(names) + 1, 0.15 * sum(name.count("\n") + 1 for name in shown) + 1))
    for place, architecture in enumerate(data.table.columns):
        axes = panels[0][place]
        rows = data.runs[data.runs["architecture"] == architecture]
        low, high = _range(rows["best_fine_acc"])
        means = rows.groupby("strategy")["best_fine_acc"].mean()
        near = rows[rows["best_fine_acc"] >= low]
        axes.plot(near["best_fine_acc"], near["strategy"].map(names.index), "o", color="C0", markersize=5, alpha=0.6)
        for name, mean in means.items():
            y = names.index(str(name))
            if mean < low:
                axes.annotate(f"◂ {mean:.1f}", (low, y), va="center", fontsize="small", color="C3")
            else:
                axes.plot([mean, mean], [y - 0.3, y + 0.3], color="black", linewidth=1.5)
        axes.set(title=f"{architecture} ({_seeds(rows)})", xlabel="best fine test accuracy (%)", ylabel="", xlim=(low, high))
        axes.set_yticks(range(len(names)), shown if place == 0 else [""] * len(names), fontsize="small")
        axes.set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"Best fine test accuracy: every seed, and the mean\n{data.table.title}", fontsize="medium")
    return figure


def _cost(data: Data) -> Figure | None:
    """Accuracy against device-hours of a run; the line joins what no other strategy beats in both."""
    if not (data.runs["device_hours"] > 0).any():
        return None
    figure, panels = _panels(data, 1)
    for place, architecture in enumerate(data.table.columns):
        rows = data.runs[data.runs["architecture"] == architecture]
        _points(panels[0][place], rows, _palette(data))
        panels[0][place].set(title=f"{architecture} ({_seeds(rows)})", xlabel="device-hours of a run")
        panels[0][place].set_ylabel("best fine test accuracy (%)" if place == 0 else "")
    return _finish(figure, data, "Accuracy against cost, and the Pareto front: mean over seeds, ± sample standard deviation")


def _points(axes: Axes, rows: pd.DataFrame, palette: Mapping[str, Colour]) -> None:
    points = rows.groupby("strategy").agg(hours=("device_hours", "mean"), mean=("best_fine_acc", "mean"), sd=("best_fine_acc", "std"))
    spread = points["sd"].fillna(0)
    low, high = _range(points["mean"] - spread, points["mean"] + spread)
    for name, point in points[points["mean"] >= low].iterrows():
        colour, above = palette.get(str(name), _GREY), 2 + (name in palette)
        axes.errorbar(point["hours"], point["mean"], yerr=point["sd"], fmt="o", color=colour, zorder=above, markersize=5, capsize=2)
    front = points.loc[pareto(points["hours"].to_dict(), points["mean"].to_dict())]
    front = front[front["mean"] >= low]
    axes.step(front["hours"], front["mean"], where="post", color="black", linewidth=0.8, zorder=1)
    for name, point in front.iterrows():
        axes.annotate(_folded(str(name)), (point["hours"], point["mean"]), (4, 5), textcoords="offset points", fontsize="x-small")
    axes.margins(x=0.15)
    axes.set_ylim(low, high)
    below = [f"{name} {mean:.1f}" for name, mean in points["mean"].items() if mean < low]
    if below:
        axes.annotate("▾ " + ", ".join(below), (0.02, 0.02), xycoords="axes fraction", fontsize="x-small", color="C3")


def pareto(cost: Mapping[Any, float], gain: Mapping[Any, float]) -> list[Any]:
    """The names that no other beats in both, from the cheapest to the dearest."""
    front: list[Any] = []
    for name in sorted(cost, key=lambda key: (cost[key], -gain[key])):
        if not front or gain[name] > gain[front[-1]]:
            front.append(name)
    return front


def _range(lowest: pd.Series, highest: pd.Series | None = None) -> tuple[float, float]:
    """Limits of an accuracy axis on which those who come close to the best can be told apart: collapsed strategies are outside."""
    if lowest.empty:  # no run has ended
        return 0.0, 100.0
    top, middle = float((lowest if highest is None else highest).max()), float(lowest.median())
    bottom = float(lowest[lowest >= middle - 3 * (top - middle) - 1].min())
    margin = 0.06 * (top - bottom) + 0.05
    return bottom - margin, top + margin


def _panels(data: Data, rows: int, height: float = _PANEL[1]) -> tuple[Figure, list[list[Axes]]]:
    columns = len(data.table.columns)
    figure = Figure(figsize=(max(_PANEL[0] * columns + _LEGEND, 6.5), height * rows + 0.4), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def _finish(figure: Figure, data: Data, title: str) -> Figure:
    """The title, and a legend of the strategies in colour beside the panels."""
    figure.suptitle(f"{title}\n{data.table.title}", fontsize="medium")
    palette, dashes = _palette(data), _dashes(data)
    lines = [
        Line2D([], [], color=palette[name], linestyle=(0, dashes[name]) if dashes[name] else "-", label=_folded(name))
        for name in data.shown
    ]
    others = len(data.table.rows) - len(data.shown)
    grey = [Line2D([], [], color=_GREY, label=f"{others} others")] if others else []
    figure.legend(handles=[*lines, *grey], loc="outside right center", fontsize="small")
    return figure


def _folded(name: str) -> str:
    return "\n".join(textwrap.wrap(name, _LETTERS, break_long_words=False))


def _palette(data: Data) -> dict[str, Colour]:
    return dict(zip(data.shown, cycle(_COLOURS), strict=False))


def _dashes(data: Data) -> dict[str, tuple[float, ...]]:
    return {name: _DASHES[place % len(_DASHES)] for place, name in enumerate(data.shown)}


def _seeds(rows: pd.DataFrame) -> str:
    counts = rows.groupby("strategy")["seed"].nunique()
    if counts.empty:
        return "no run"
    low, high = counts.min(), counts.max()
    return f"n={low}" if low == high else f"n={low} to {high}"
