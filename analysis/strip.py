"""Draws every seed's accuracy by strategy: what a mean and a standard deviation do not show."""

from matplotlib.figure import Figure

from analysis.canvas import PANEL, folded, panels, seeds, span
from analysis.plots import Data


def strip(data: Data) -> Figure:
    """Every seed's best accuracy as a point, the mean as a bar; a strategy far below the others is named at the edge."""
    names = list(data.table.rows)
    shown = [folded(name) for name in names]
    figure, drawn = panels(data, 1, height=max(PANEL[1], 0.3 * len(names) + 1, 0.15 * sum(name.count("\n") + 1 for name in shown) + 1))
    for place, architecture in enumerate(data.table.columns):
        axes = drawn[0][place]
        rows = data.runs[data.runs["architecture"] == architecture]
        low, high = span(rows["best_fine_acc"])
        means = rows.groupby("strategy")["best_fine_acc"].mean()
        near = rows[rows["best_fine_acc"] >= low]
        axes.plot(near["best_fine_acc"], near["strategy"].map(names.index), "o", color="C0", markersize=5, alpha=0.6)
        for name, mean in means.items():
            y = names.index(str(name))
            if mean < low:
                axes.annotate(f"◂ {mean:.1f}", (low, y), va="center", fontsize="small", color="C3")
            else:
                axes.plot([mean, mean], [y - 0.3, y + 0.3], color="black", linewidth=1.5)
        axes.set(title=f"{architecture} ({seeds(rows)})", xlabel="best fine test accuracy (%)", ylabel="", xlim=(low, high))
        axes.set_yticks(range(len(names)), shown if place == 0 else [""] * len(names), fontsize="small")
        axes.set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"Best fine test accuracy: every seed, and the mean\n{data.table.title}", fontsize="medium")
    return figure
