"""Draws every seed's accuracy by strategy: what a mean and a standard deviation do not show."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.canvas import PANEL, entitle, folded, name_panel, panels, span
from analysis.plots import Data

_LABEL, _LETTER = 0.08, 0.05  # inches of a letter of size small, and of a digit of size x-small
_MOST_NAMED = 5  # seeds below the axis; of more their range


def strip(data: Data) -> Figure:
    """Every seed's best accuracy as a point, the mean as a bar; those far below the others as numbers at the edge."""
    names = list(data.table.rows)
    shown = [folded(name) for name in names]
    tallest = max(name.count("\n") + 1 for name in shown)
    figure, drawn = panels(data, 1, height=max(PANEL[1], max(0.3, 0.15 * tallest) * len(names) + 1))
    below, width = False, (figure.get_figwidth() - _LABEL * max(map(len, "\n".join(shown).split("\n")))) / len(data.table.columns)
    for place, architecture in enumerate(data.table.columns):
        axes, rows = drawn[0][place], data.runs[data.runs["architecture"] == architecture]
        below |= _panel(axes, rows, names, width)
        name_panel(axes, architecture, rows)
        axes.set(xlabel="best fine test accuracy (%)", ylabel="", ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), shown if place == 0 else [""] * len(names), fontsize="small")
    entitle(figure, data, "Best fine test accuracy: every seed, and the mean" + "; ◂ below the axis" * below)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, names: list[str], width: float) -> bool:
    """Draws the points and bars in a panel this wide (inches); whether there are seeds below the axis."""
    low, high = span(rows["best_fine_acc"])
    near = rows[rows["best_fine_acc"] >= low]
    axes.plot(near["best_fine_acc"], near["strategy"].map(names.index), "o", color="C0", markersize=5, alpha=0.6)
    notes: dict[int, str] = {}
    for name, values in rows.groupby("strategy")["best_fine_acc"]:
        y, mean, under = names.index(str(name)), values.mean(), sorted(values[values < low])
        if mean >= low:
            axes.plot([mean, mean], [y - 0.3, y + 0.3], color="black", linewidth=1.5)
        if under:
            notes[y] = f"◂ {_told(under)}" + (f"\n   mean {mean:.1f}" if mean < low and len(values) > 1 else "")
    axes.set_xlim(low, high)
    if notes:
        _beside(axes, notes, width)
    return bool(notes)


def _told(values: list[float]) -> str:
    """`61.0, 61.2`, or `5 seeds, 60.1 to 61.2`."""
    if len(values) <= _MOST_NAMED:
        return ", ".join(f"{value:.1f}" for value in values)
    return f"{len(values)} seeds, {values[0]:.1f} to {values[-1]:.1f}"


def _beside(axes: Axes, notes: dict[int, str], width: float) -> None:
    """Notes left of what the axis covers, where no point is."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    longest = max(len(line) for note in notes.values() for line in note.split("\n"))
    share = min(0.5, _LETTER * (longest + 2) / (width - 0.2))
    edge = low - (high - low) * share / (1 - share)
    axes.axvspan(edge, low, color="0.95", zorder=1, linewidth=0)
    axes.axvline(low, color="0.4", linewidth=0.8, linestyle=":")
    for y, note in notes.items():
        axes.annotate(note, (edge, y), (3, 0), textcoords="offset points", va="center", fontsize="x-small", color="C3")
    axes.set_xlim(edge, high)
    axes.set_xticks(ticks)
