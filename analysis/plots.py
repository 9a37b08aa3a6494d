"""The plots of a study as files: what each setting's figures are drawn of, and where they go."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pandas as pd

from analysis.curves import curves
from analysis.report import check_known, gather
from analysis.table import Table, distinct, labels, tables
from mtlsweep.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More lines than a reader can tell apart are drawn in grey behind these.
MOST_SHOWN = 9

FORMATS = ("png", "svg")


@dataclass(frozen=True)
class Data:
    """What figures of one setting are drawn of.

    Attributes:
        table: of the setting.
        runs: its completed runs, with `strategy` and `architecture` as the table names them.
        epochs: of the same runs and with the same two columns, see `curves.curves`.
        shown: strategies in colour, in the table's order; the others are grey.
    """

    table: Table
    runs: pd.DataFrame
    epochs: pd.DataFrame
    shown: list[str]


def data(frame: pd.DataFrame, study: Path, found: Sequence[Table], chosen: Sequence[str] | None = None) -> Iterator[Data]:
    """For each table that has a completed run what its figures are drawn of.

    Args:
        frame: of the study, see `collect`.
        study: its folder, or the results CSV it was read from.
        found: its tables.
        chosen: strategies to show in colour; None: at most nine, see `choose`.
    """
    runs = distinct(frame)
    for table in found:
        here = runs[runs["setting"] == table.setting]
        names = {"strategy": labels(here, "loss"), "architecture": labels(here, "model")}
        done = here[here["status"] == "completed"]
        if not done.empty:
            epochs = curves(done, study)
            yield Data(table, _named(done, names), _named(epochs, names), choose(table, chosen))


def choose(table: Table, chosen: Sequence[str] | None = None) -> list[str]:
    """The strategies to show in colour: the chosen ones; else all if they are few; else fine_only, equal and those of the highest accuracy,
    mean over the architectures they have run on."""
    if chosen or len(table.rows) <= MOST_SHOWN:
        return [name for name in table.rows if not chosen or name in chosen]
    means = {name: [entry.values["best"].mean for entry in entries if entry.n] for name, entries in table.rows.items()}
    first = [name for name in ("fine_only", "equal") if name in table.rows]
    others = sorted((name for name in means if means[name] and name not in first), key=lambda name: -sum(means[name]) / len(means[name]))
    kept = {*first, *others[: MOST_SHOWN - len(first)]}
    return [name for name in table.rows if name in kept]


def figures(drawn_of: Data) -> dict[str, "Figure"]:
    """The figures by name.

    Raises:
        UserError: matplotlib or seaborn is not installed.
    """
    try:
        from analysis.figures import draw
    except ModuleNotFoundError as error:
        raise UserError(f"plots need {error.name}: .venv/bin/pip install -e '.[plots]'") from error
    return draw(drawn_of)


def write(figure: "Figure", target: Path | IO[bytes], kind: str) -> None:
    """The figure as "png" or "svg", the same bytes each time, and letters as outlines."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "mtlsweep", "svg.fonttype": "path"}):
        figure.savefig(target, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def save(found: Sequence[Data], folder: Path) -> list[Path]:
    """Write each figure as PNG and SVG to a folder, those of several settings to one each below it.

    Raises:
        UserError: as for `figures`; the folder cannot be written to.
    """
    written = []
    try:
        for number, one in enumerate(found, start=1):
            into = folder / f"setting{number}" if len(found) > 1 else folder
            into.mkdir(parents=True, exist_ok=True)
            for name, figure in figures(one).items():
                for suffix in FORMATS:
                    written.append(into / f"{name}.{suffix}")
                    write(figure, written[-1], suffix)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return written


def report_plots(study: Path, folder: Path, chosen: Sequence[str] | None = None) -> None:
    """Write the plots of a study and print their paths.

    Raises:
        UserError: as for `save`; the study holds no completed runs, or none of a strategy that was named.
    """
    frame = gather([study])
    found = tables(frame)
    check_known(chosen or [], found)
    drawn = list(data(frame, study, found, chosen))
    if not drawn:
        raise UserError(f"{study}: no completed run")
    for path in save(drawn, folder):
        print(path)


def _named(rows: pd.DataFrame, names: dict[str, dict[str, str]]) -> pd.DataFrame:
    return rows.assign(strategy=rows["loss_key"].map(names["strategy"]), architecture=rows["model_key"].map(names["architecture"]))
