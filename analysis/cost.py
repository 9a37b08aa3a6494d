"""Draws accuracy against device-hours, and which strategies no other one beats in both."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.canvas import GREY, Colour, finish, folded, palette, panels, seeds, span
from analysis.plots import Data


def cost(data: Data) -> Figure | None:
    """Accuracy against device-hours of a run; the line joins what no other strategy beats in both."""
    if not (data.runs["device_hours"] > 0).any():
        return None
    figure, drawn = panels(data, 1)
    for place, architecture in enumerate(data.table.columns):
        rows = data.runs[data.runs["architecture"] == architecture]
        _points(drawn[0][place], rows, palette(data))
        drawn[0][place].set(title=f"{architecture} ({seeds(rows)})", xlabel="device-hours of a run")
        drawn[0][place].set_ylabel("best fine test accuracy (%)" if place == 0 else "")
    return finish(figure, data, "Accuracy against cost, and the Pareto front: mean over seeds, ± sample standard deviation")


def _points(axes: Axes, rows: pd.DataFrame, colours: Mapping[str, Colour]) -> None:
    points = rows.groupby("strategy").agg(hours=("device_hours", "mean"), mean=("best_fine_acc", "mean"), sd=("best_fine_acc", "std"))
    spread = points["sd"].fillna(0)
    low, high = span(points["mean"] - spread, points["mean"] + spread)
    for name, point in points[points["mean"] >= low].iterrows():
        colour, above = colours.get(str(name), GREY), 2 + (name in colours)
        axes.errorbar(point["hours"], point["mean"], yerr=point["sd"], fmt="o", color=colour, zorder=above, markersize=5, capsize=2)
    front = points.loc[pareto(points["hours"].to_dict(), points["mean"].to_dict())]
    front = front[front["mean"] >= low]
    axes.step(front["hours"], front["mean"], where="post", color="black", linewidth=0.8, zorder=1)
    for name, point in front.iterrows():
        axes.annotate(folded(str(name)), (point["hours"], point["mean"]), (4, 5), textcoords="offset points", fontsize="x-small")
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
