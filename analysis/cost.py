"""Draws accuracy against device-hours, and which strategies no other one beats in both."""

import math
from collections.abc import Mapping
from itertools import cycle
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.canvas import GREY, Colour, entitle, folded, legend, name_panel, palette, panels, span
from analysis.plots import Data

_MARKERS = "osD^vp<"  # 7, and 9 colours: few strategies look alike
_MARK: Any = {"markersize": 7, "markeredgewidth": 0.8, "markeredgecolor": "white"}
_FRONT: Any = {"color": "black", "linewidth": 0.8}
_LETTERS = 45  # on a line below a panel


class _Look(NamedTuple):
    color: Colour | str
    marker: str


_OTHERS = _Look(GREY, "o")


def cost(data: Data) -> Figure | None:
    """Accuracy against device-hours of a run. A line joins what no other strategy beats in both, if all ran on one device."""
    runs = data.runs[data.runs["device_hours"].notna()]
    if not (runs["device_hours"] > 0).any():
        return None
    devices = sorted(runs["device"].fillna("unknown").unique())
    rows = {name: runs[runs["architecture"] == name] for name in data.table.columns}
    points = {name: _points(part, fronts=len(devices) == 1) for name, part in rows.items()}
    below = {name: _below(found) for name, found in points.items()}
    figure, drawn = panels(data, 1, lines=max(note.count("\n") for note in below.values()))
    looks = _looks(data, points)
    for place, (architecture, found) in enumerate(points.items()):
        _panel(drawn[0][place], found, looks)
        without = "no device-hours" if (data.runs["architecture"] == architecture).any() else "no run"
        name_panel(drawn[0][place], architecture, rows[architecture], without)
        drawn[0][place].set_xlabel("device-hours of a run" + below[architecture])
        drawn[0][place].set_ylabel("best fine test accuracy (%)" if place == 0 else "")
    _explain(figure, data, points, looks, devices)
    return figure


def pareto(cost: Mapping[Any, float], gain: Mapping[Any, float]) -> list[Any]:
    """The names that no other beats in both, from the cheapest to the dearest; whose cost is not known (NaN) is not among them."""
    front: list[Any] = []
    known = [name for name, hours in cost.items() if not math.isnan(hours)]
    for name in sorted(known, key=lambda key: (cost[key], -gain[key])):
        if not front or gain[name] > gain[front[-1]]:
            front.append(name)
    return front


def _points(rows: pd.DataFrame, fronts: bool) -> pd.DataFrame:
    """By strategy its mean hours and accuracy, the latter's sd, whether it is below the axis, and its place on the front."""
    points = rows.groupby("strategy").agg(hours=("device_hours", "mean"), mean=("best_fine_acc", "mean"), sd=("best_fine_acc", "std"))
    front = pareto(points["hours"].to_dict(), points["mean"].to_dict()) if fronts else []
    return points.assign(below=points["mean"] < _limits(points)[0], front=points.index.isin(front)).sort_values("hours")


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    spread = points["sd"].fillna(0)
    return span(points["mean"] - spread, points["mean"] + spread)


def _looks(data: Data, points: Mapping[str, pd.DataFrame]) -> dict[str, _Look]:
    """Colour and marker of the strategies to show and of any other on a front, the former in the colours of the other figures."""
    drawn = {name for found in points.values() for name in found.index[~found["below"]]}
    fronts = {name for found in points.values() for name in found.index[found["front"] & ~found["below"]]}
    names = [*data.shown, *(name for name in data.table.rows if name in fronts and name not in data.shown)]
    colours = palette(names)
    return {name: _Look(colours[name], marker) for name, marker in zip(names, cycle(_MARKERS), strict=False) if name in drawn}


def _panel(axes: Axes, points: pd.DataFrame, looks: Mapping[str, _Look]) -> None:
    near = points[~points["below"]]
    for name, point in near.iterrows():
        look, above = looks.get(str(name), _OTHERS), 2 + (name in looks)
        axes.errorbar(
            point["hours"], point["mean"], yerr=point["sd"], fmt=look.marker, color=look.color, zorder=above, elinewidth=1, capsize=2,
            **_MARK | ({"markeredgecolor": "black"} if point["front"] else {}),
        )  # fmt: skip
    front = near[near["front"]]
    axes.step(front["hours"], front["mean"], where="post", zorder=1, **_FRONT)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))  # more labels run into each other where hours are small
    if points.empty:
        axes.set(xticks=[], yticks=[])
    else:
        axes.set_ylim(_limits(points))


def _below(points: pd.DataFrame) -> str:
    """Who is below the axis, as lines below its name; how many, if names would take more than two."""
    means = points.loc[points["below"], "mean"].sort_values(ascending=False)
    if means.empty:
        return ""
    text = folded("below the axis: " + ", ".join(f"{name} {mean:.1f}" for name, mean in means.items()), _LETTERS)
    return "\n" + (text if text.count("\n") < 2 else f"below the axis: {len(means)} strategies, {means.min():.1f} to {means.max():.1f}")


def _explain(figure: Figure, data: Data, points: Mapping[str, pd.DataFrame], looks: Mapping[str, _Look], devices: list[str]) -> None:
    """Title and legend."""
    marks = [Line2D([], [], linestyle="", label=folded(name), **look._asdict(), **_MARK) for name, look in looks.items()]
    ring = _MARK | {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black"}
    line = [Line2D([], [], label="Pareto front", **_FRONT, **ring)] if len(devices) == 1 else []
    others = {name for found in points.values() for name in found.index[~found["below"]]} - set(looks)
    legend(figure, [*line, *marks], len(others), marker=_OTHERS.marker, linestyle="", **_MARK)
    several = [f"runs of several devices ({', '.join(devices)}): hours are not comparable"] if len(devices) > 1 else []
    entitle(figure, data, "Accuracy against cost: mean over seeds, ± sample standard deviation", *several)
