"""Tables as markdown, LaTeX and CSV."""

import math
from collections.abc import Callable

import pandas as pd

from analysis.table import Entry, Summary, Table

TITLE = "Best fine test accuracy (%): {}"


def missing(entry: Entry) -> str:
    """What an entry lacks: `+1 failed` beside a mean, `2 failed, 1 pending` in place of one, `missing` where nothing was asked for."""
    states = [f"{count} {state}" for state, count in entry.absent.items()]
    if entry.n:
        return " ".join(f"+{state}" for state in states)
    if list(entry.absent.values()) == [1]:
        return next(iter(entry.absent))
    return ", ".join(states) or "missing"


def number(summary: Summary, sign: str = "±") -> str:
    """`35.12 ± 0.40`; of a single seed the value alone."""
    return f"{summary.mean:.2f}" if summary.sd is None else f"{summary.mean:.2f} {sign} {summary.sd:.2f}"


def markdown(tables: list[Table], notes: list[str]) -> str:
    """Each table under its title in bold, the notes as a list below them; the best of a column is bold."""
    parts = []
    for table in tables:
        cells = _strings(table, lambda value: f"**{value}**", "±")
        cells.columns = pd.Index([" ".join(names) for names in cells.columns])
        aligned = ["left"] + ["right"] * cells.shape[1]
        grid = cells.rename(index=_cell, columns=_cell).to_markdown(disable_numparse=True, colalign=aligned)
        parts += [f"**{TITLE.format(table.title)}**", grid]
    return "\n\n".join([*parts, "\n".join(f"- {_cell(note)}" for note in notes)])


def latex(tables: list[Table], notes: list[str]) -> str:
    """Each table for the package booktabs, the notes as comments above them; the best of a column is bold."""
    parts = ["\n".join(f"% {note}" for note in notes)]
    for table in tables:
        cells = _strings(table, lambda value: rf"\textbf{{{value}}}", r"$\pm$").rename(index=_escape, columns=_escape)
        styler = cells.rename_axis(index=None).style
        caption = _escape(TITLE.format(table.title))
        parts.append(styler.to_latex(hrules=True, multicol_align="c", column_format="l" + "r" * cells.shape[1], caption=caption).rstrip())
    return "\n\n".join(parts)


def csv(tables: list[Table]) -> str:
    """One line for each entry: setting, strategy, architecture, `n` of `runs`, mean and sd of each measure, `*` where it is the best."""
    lines = [
        {"setting": table.title, "strategy": strategy, "architecture": architecture} | _numbers(entry)
        for table in tables
        for strategy, entries in table.rows.items()
        for architecture, entry in zip(table.columns, entries, strict=True)
    ]
    return pd.DataFrame(lines).to_csv(index=False, float_format="%.7g", lineterminator="\n").rstrip("\n")


def _numbers(entry: Entry) -> dict[str, object]:
    summaries = {name: entry.values.get(name, Summary(math.nan, None)) for name in ("best", "last", "selected")}
    values = {f"{name}_{part}": value for name, summary in summaries.items() for part, value in vars(summary).items()}
    marks = {"marked": "*" if entry.best else "", "absent": "" if entry.complete else missing(entry)}
    return {"n": entry.n, "runs": entry.n + sum(entry.absent.values())} | values | marks


def _strings(table: Table, bold: Callable[[str], str], sign: str) -> pd.DataFrame:
    """The table as strings: rows are strategies, columns pairs of architecture and measure."""
    columns = pd.MultiIndex.from_product([table.columns, table.measures])
    rows = [[_string(entry, measure, bold, sign) for entry in entries for measure in table.measures] for entries in table.rows.values()]
    return pd.DataFrame(rows, index=pd.Index(table.rows.keys(), name="strategy"), columns=columns)


def _string(entry: Entry, measure: str, bold: Callable[[str], str], sign: str) -> str:
    value = number(entry.values[measure], sign) if measure in entry.values else ""
    if measure != "best":
        return value
    words = [bold(value) if entry.best else value, f"n={entry.n}" if entry.n else "", missing(entry) if not entry.complete else ""]
    return " ".join(word for word in words if word)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


_LATEX = {ord(character): f"\\{character}" for character in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
}


def _escape(text: str) -> str:
    return text.translate(_LATEX)
