"""A study's report: one HTML page that needs nothing but itself."""

import base64
import io
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from analysis import plots
from analysis.notes import made_by, notes
from analysis.render import missing, number
from analysis.report import Analysis, Choice, analyse, gather
from analysis.sheet import Sheet
from analysis.table import Table, distinct, labels
from mtlsweep.errors import UserError
from mtlsweep.runs import State, files

# Lines of a log, and runs that have not completed, that a page shows.
_LOG_LINES = 12
_MOST_ABSENT = 50

# Of a log's end, bytes that surely hold so many lines of usual length.
_LOG_BYTES = 8192


def write(study: Path, output: Path, choice: Choice) -> None:
    """Write the report of a study; its `results.csv` is written too.

    Raises:
        UserError: as for `report.report_studies`; the page cannot be written.
    """
    frame = gather([study])
    write_page(frame, analyse(frame, choice), study, output, choice.family or ())


def write_page(frame: pd.DataFrame, analysis: Analysis, study: Path, output: Path, coloured: Collection[str] = (), name: str = "") -> None:
    """Write the report of some runs.

    Args:
        frame: the runs.
        analysis: of them.
        study: the folder that they lie in, or the CSV that they are of.
        output: the page.
        coloured: strategies that the figures have in colour; none: as many as there are colours.
        name: of the study; none: its folder's.

    Raises:
        UserError: the page cannot be written.
    """
    tables, _, sheets = analysis
    images, plotless = _images(frame, study, tables, coloured)
    runs = distinct(frame)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("page.html").render(
        study=name or study.resolve().name,
        folder=study,
        when=datetime.now(UTC).isoformat(sep=" ", timespec="minutes"),
        command=shlex.join(["python", "-m", "analysis", "report", str(study), "-o", str(output)]),
        counts=_counts(runs),
        made_by=made_by(runs),
        hours=_hours(runs["device_hours"].dropna()),
        notes=notes(frame, tables, errors=False),
        parts=[_part(table, runs, sheets[table.setting], images.get(table.setting, [])) for table in tables],
        plotless=plotless,
        absent=_absent(runs, study),
        more=max(0, int((runs["status"] != "completed").sum()) - _MOST_ABSENT),
        number=number,
        missing=missing,
    )
    try:
        files.write_text(output, page)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error


def _part(table: Table, runs: pd.DataFrame, sheets: Sequence[Sheet], images: list[tuple[str, str]]) -> dict[str, Any]:
    anchors = {(name, place): _anchor(table, name, column) for name in table.rows for place, column in enumerate(table.columns)}
    listed = _runs(runs, table)
    return {"table": table, "sheets": sheets, "runs": listed, "common": _common(listed), "figures": images, "anchors": anchors}


def _common(runs: list[dict[str, Any]]) -> dict[str, str]:
    """What need not be said of each run of a table, because it is the same of all."""
    return {name: runs[0][name] for name in ("commit", "engine") if len(runs) > 1 and len({run[name] for run in runs}) == 1}


def _anchor(table: Table, strategy: str, architecture: str) -> str:
    rows, columns = list(table.rows), table.columns
    return f"r{table.setting}-{rows.index(strategy)}-{columns.index(architecture)}"


def _images(
    frame: pd.DataFrame, study: Path, tables: Sequence[Table], coloured: Collection[str]
) -> tuple[dict[str, list[tuple[str, str]]], str | None]:
    """Each setting's figures as title and data URI; and why there are none."""
    try:
        drawn = {one.table.setting: plots.figures(one) for one in plots.data(frame, study, tables, list(coloured))}
    except UserError as error:  # the page says it
        return {}, str(error)
    return {setting: [(str(figure.get_suptitle()), _uri(figure)) for figure in found.values()] for setting, found in drawn.items()}, None


def _uri(figure: Any) -> str:
    image = io.BytesIO()
    plots.write(figure, image, "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}"


def _counts(runs: pd.DataFrame) -> str:
    found = Counter(runs["status"])
    return f"{len(runs)} runs: " + ", ".join(f"{found[state.value]} {state.value}" for state in reversed(State) if found[state.value])


def _hours(known: pd.Series) -> str:
    return f"{known.sum():.3g}" if len(known) else "Unknown"


def _absent(runs: pd.DataFrame, study: Path) -> list[dict[str, Any]]:
    """What has not completed, with the end of its log."""
    found = runs[runs["status"] != "completed"].head(_MOST_ABSENT)
    return [
        {
            "status": run["status"],
            "name": f"{run['model_variant']} {run['variant']} {run['data']} {run['schedule']} seed {run['seed']}",
            "error": _word(run["error"]),
            "command": _word(run["command"]),
            "log": _log(study / run["path"] / "run.log") if study.is_dir() else "",
        }
        for run in found.to_dict("records")
    ]


def _log(path: Path) -> str:
    """The last lines of a log; "" where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""


def _runs(runs: pd.DataFrame, table: Table) -> list[dict[str, Any]]:
    """A table's completed runs, by strategy, architecture and seed; the first of each entry bears its anchor."""
    here = runs[runs["setting"] == table.setting]
    strategies, architectures = labels(here, "loss"), labels(here, "model")
    order = {name: place for place, name in enumerate([*table.rows, *table.columns])}
    rows = [_run(run, strategies[run["loss_key"]], architectures[run["model_key"]]) for run in here.to_dict("records") if _done(run)]
    rows.sort(key=lambda run: (order[run["strategy"]], order[run["architecture"]], run["seed"]))
    seen: set[str] = set()
    for run in rows:
        anchor = _anchor(table, run["strategy"], run["architecture"])
        run["anchor"] = "" if anchor in seen else anchor
        seen.add(anchor)
    return rows


def _done(run: dict[Any, Any]) -> bool:
    return bool(run["status"] == State.completed.value)


def _run(run: dict[Any, Any], strategy: str, architecture: str) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "architecture": architecture,
        "seed": run["seed"],
        "best": f"{run['best_fine_acc']:.2f}",
        "epoch": _word(run["best_epoch"]),
        "last": "" if pd.isna(run["last_fine_acc"]) else f"{run['last_fine_acc']:.2f}",
        "commit": "unknown" if pd.isna(run["commit"]) else run["commit"][:12] + ("+changes" if run["dirty"] is True else ""),
        "command": _word(run["command"]),
        "engine": "; ".join(word for word in (_word(run["device"]), _word(run["resolved_engine"])) if word) or "unknown",
    }


def _word(value: Any) -> str:
    """What a cell of a page says; of what a file does not know nothing."""
    return "" if pd.isna(value) else str(value)
