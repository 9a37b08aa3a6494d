"""Entries, the strategies of studies and the published accuracies in one table, of one setting only."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

import analysis
from analysis.collect import collect
from analysis.find import find_study
from analysis.render import mean_and_seeds
from analysis.results import read_results
from analysis.table import Entry as TableEntry
from analysis.table import Summary, tables
from mtlsweep.errors import UserError
from mtlsweep.protocol.entry import Entry
from mtlsweep.protocol.ledger import NAME
from mtlsweep.protocol.results import accuracies
from mtlsweep.protocol.rules import ARCHITECTURES, HELD_OUT, SETTING, Setting, differences
from mtlsweep.protocol.verification import verify
from mtlsweep.runs.signature import dotted


@dataclass(frozen=True)
class Row:
    """One competitor.

    Attributes:
        name: of an entry its folder's, else the strategy's.
        kind: "entry", "study" or "published".
        cells: for each architecture its accuracies.
    """

    name: str
    kind: str
    cells: dict[str, TableEntry]

    @property
    def geometric_mean(self) -> float | None:
        """Of the architectures' mean best accuracies; None where one is incomplete."""
        if not all(self.cells[model].complete for model in ARCHITECTURES):
            return None
        return float(math.prod(self.cells[model].values["best"].mean for model in ARCHITECTURES) ** (1 / len(ARCHITECTURES)))


def leaderboard(folders: Sequence[str], output: str = "markdown") -> str:
    """The table of some entries and studies. What is left out is named on standard error.

    A rehearsal never stands beside entries to the benchmark: where there are any of these, or no entries at all, the setting is the
    benchmark's; else it is that of the first rehearsal.

    Args:
        folders: of entries and studies.
        output: "markdown" or "csv".

    Raises:
        UserError: a folder is neither, or nothing of them can be shown.
    """
    entries, studies = _sort(folders)
    real = [entry for entry in entries if not _begun(entry)["rehearsal"]]
    setting = _begun(entries[0])["setting"] if entries and not real else SETTING
    shown = [entry for entry in entries if _same(_begun(entry)["setting"], setting)]
    for entry in entries:
        if entry not in shown:
            _left_out(entry.path, "a rehearsal" if real else "a rehearsal of another setting")
    rows = [_of_entry(entry, name) for entry, name in zip(shown, _names(shown), strict=True)]
    rows += [row for study in studies for row in _of_study(study, setting)]
    if not rows:
        raise UserError("nothing to show: no submitted entry and no run of the benchmark's setting")
    rows += [] if differences(setting, SETTING) and not real and entries else _published()
    rows.sort(key=lambda row: -(row.geometric_mean or 0.0))
    return _csv(rows) if output == "csv" else _markdown(rows, rehearsal=bool(entries) and not real)


def _sort(folders: Sequence[str]) -> tuple[list[Entry], list[Path]]:
    """The submitted entries that are as their ledgers say, and the studies."""
    entries, studies = [], []
    for folder in {Path(folder).resolve(): folder for folder in folders}.values():  # each once
        if not (Path(folder) / NAME).exists():
            studies.append(find_study(folder))
        elif found := verify(Path(folder)):
            _left_out(Path(folder), f"not as its ledger says: {found[0]}")
        elif not (entry := Entry.read(Path(folder))).final:
            _left_out(Path(folder), "not submitted")
        else:
            entries.append(entry)
    return entries, studies


def _begun(entry: Entry) -> dict[str, Any]:
    assert entry.submitted is not None
    return entry.submitted.begun


def _same(one: Setting, other: Setting) -> bool:
    """Whether two settings are one, whatever the engine."""
    return not [key for key, _, _ in differences(one, other) if not key.startswith("engine.")]


def _names(entries: Sequence[Entry]) -> list[str]:
    """Of their folders, with the paths to them where several have one name."""
    names = [entry.path.resolve().name for entry in entries]
    return [name if names.count(name) == 1 else str(entry.path) for name, entry in zip(names, entries, strict=True)]


def _of_entry(entry: Entry, name: str) -> Row:
    assert entry.submitted is not None
    runs = entry.submitted.runs | entry.held_out
    cells = {}
    for model, seeds in runs.items():
        best, last = accuracies(seeds), accuracies(seeds, "last")
        diverged = len(seeds) - len(best)
        cells[model] = TableEntry(len(best), {"diverged": diverged} if diverged else {}, _summaries(best, last))
    return Row(name, "entry", cells)


def _of_study(study: Path, setting: Setting) -> Iterator[Row]:
    """The strategies of a study that have runs of this setting."""
    frame = read_results(study) if study.is_file() else collect([study])
    wanted = dotted({key: value for key, value in setting.items() if key not in ("curriculum", "engine")})
    fitting = frame[[all(_equal(run.get(key), value) for key, value in wanted.items()) for _, run in frame.iterrows()]]
    if fitting.empty:
        _left_out(study, "no run of this setting")
        return
    found = tables(fitting)
    for table in found:
        for strategy, cells in table.rows.items():
            by_model = dict(zip(table.columns, cells, strict=True))
            name = strategy if len(found) == 1 else f"{strategy} ({table.title})"
            yield Row(name, "study", {model: by_model.get(model, TableEntry()) for model in ARCHITECTURES})


def _published() -> list[Row]:
    known = pd.read_csv(Path(analysis.__path__[0], "published.csv"), keep_default_na=False)
    rows = []
    for name, runs in known.groupby("name", sort=False):
        found = {str(model): group["best_fine_acc"].tolist() for model, group in runs.groupby("model")}
        cells = {model: TableEntry(len(best), {}, _summaries(best, [])) for model, best in found.items()}
        rows.append(Row(str(name), "published", {model: cells.get(model, TableEntry()) for model in ARCHITECTURES}))
    return rows


def _summaries(best: list[float], last: list[float]) -> dict[str, Summary]:
    values = {"best": best, "last": last}
    return {name: Summary(fmean(found), stdev(found) if len(found) > 1 else None) for name, found in values.items() if found}


def _equal(value: object, wanted: object) -> bool:
    return bool(pd.isna(value)) if wanted is None else value == wanted  # type: ignore[call-overload]


def _left_out(folder: Path, reason: str) -> None:
    print(f"mtlsweep.protocol: left out {folder}: {reason}", file=sys.stderr)


def _markdown(rows: Sequence[Row], rehearsal: bool) -> str:
    heads = [f"{model}{' (held out)' if model in HELD_OUT else ''}" for model in ARCHITECTURES]
    lines = [[row.name, row.kind, *(mean_and_seeds(row.cells[model]) for model in ARCHITECTURES), _mean(row)] for row in rows]
    grid = pd.DataFrame(lines, columns=["strategy", "kind", *heads, "geom. mean"])
    aligned = ("left", "left", *["right"] * (len(heads) + 1))
    title = f"**Best fine test accuracy (%){': REHEARSAL, not the benchmark' if rehearsal else ', the benchmark'}**"
    notes = [
        "best: highest over the epochs on the test set, the benchmark's, optimistic; ± is the sample standard deviation over n seeds.",
        "geom. mean: of the architectures' means. Rows closer than the spread between seeds, or of different n, have no order by it.",
    ]
    if any(row.kind == "published" for row in rows):
        notes.append("published: MLS-Bench (arXiv:2605.08678); fine only, of another recipe: chenyaofo/pytorch-cifar-models.")
    table = grid.map(lambda word: word.replace("|", r"\|")).to_markdown(index=False, disable_numparse=True, colalign=aligned)
    return "\n\n".join([title, table, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _mean(row: Row) -> str:
    mean = row.geometric_mean
    return "incomplete" if mean is None else f"{mean:.2f}"


def _csv(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        line: dict[str, object] = {"strategy": row.name, "kind": row.kind}
        for model in ARCHITECTURES:
            cell = row.cells[model]
            values = {name: cell.values.get(name, Summary(math.nan, None)) for name in ("best", "last")}
            line |= {f"{model}_{name}": value.mean for name, value in values.items()}
            line |= {f"{model}_sd": values["best"].sd, f"{model}_n": cell.n}
        lines.append(line | {"geometric_mean": row.geometric_mean})
    return pd.DataFrame(lines).to_csv(index=False, float_format="%.7g", lineterminator="\n")
