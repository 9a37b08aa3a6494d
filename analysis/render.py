"""Tables and sheets as markdown, LaTeX and CSV."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from statistics import mode

import pandas as pd

from analysis.baseline import Comparison
from analysis.measures import MEANINGS, MEASURES
from analysis.sheet import Sheet
from analysis.table import Entry, Summary, Table

Sheets = Mapping[str, Sequence[Sheet]]  # by the setting of the table that they go with
Mark = Callable[[str, Entry], str]


def title(table: Table) -> str:
    """What the accuracies of a table are, and of what."""
    meaning = MEANINGS[table.measure]
    return f"{meaning[0].upper()}{meaning[1:]} (%): {table.title}"


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


def markdown(tables: Sequence[Table], notes: Sequence[str], sheets: Sheets) -> str:
    """Each table under its title in bold, its sheets below it, the notes as a list at the end; the best of a column is bold."""
    parts = []
    for table in tables:
        cells = _strings(table, _mark_markdown, "±")
        cells.columns = pd.Index([" ".join(names) for names in cells.columns])
        parts += [f"**{_cell(title(table))}**", _grid(cells.rename(index=_cell, columns=_cell))]
        parts += [sheet_markdown(sheet) for sheet in sheets.get(table.setting, ())]
    return "\n\n".join([*parts, _list(notes)])


def sheet_markdown(sheet: Sheet) -> str:
    """A sheet under its title in bold, its remarks as a list below it."""
    rows = [[_cell(word) for word in words] for _, words in sheet.rows]
    index = pd.Index([_cell(name) for name, _ in sheet.rows], name=sheet.corner)
    grid = _grid(pd.DataFrame(rows, index=index, columns=[_cell(name) for name in sheet.columns]))
    return "\n\n".join([f"**{_cell(sheet.title)}**", grid, *([_list(sheet.remarks)] if sheet.remarks else [])])


def latex(tables: Sequence[Table], notes: Sequence[str], sheets: Sheets) -> str:
    """Each table, and its sheets, for the packages booktabs and graphicx, the notes as comments above them; the best of a column is bold.

    To be no wider than a page the tables say the usual n in the caption only, and of other measures than the first no standard deviation.
    """
    parts = [_comments([r"\usepackage{booktabs, graphicx}", *notes])]
    for table in tables:
        usual = mode([entry.n for row in table.rows.values() for entry in row if entry.n] or [0])
        cells = _strings(table, _mark_latex, r"$\pm$", usual).rename(index=latex_escape, columns=latex_escape)
        caption = title(table) + (f"; n={usual} where nothing else is said" if usual else "")
        parts.append(_tabular(cells.rename_axis(index=None), caption))
        parts += [sheet_latex(sheet) for sheet in sheets.get(table.setting, ())]
    return "\n\n".join(parts)


def sheet_latex(sheet: Sheet) -> str:
    """A sheet for the packages booktabs and graphicx, its remarks as comments above it."""
    rows = [[latex_escape(word) for word in words] for _, words in sheet.rows]
    cells = pd.DataFrame(rows, index=[latex_escape(name) for name, _ in sheet.rows], columns=[latex_escape(name) for name in sheet.columns])
    return "\n".join([*([_comments(sheet.remarks)] if sheet.remarks else []), _tabular(cells, sheet.title)])


def csv(tables: Sequence[Table], comparisons: Mapping[str, Comparison]) -> str:
    """One line for each entry: setting, strategy, architecture, `n` of `runs`, mean and sd of each measure, `*` where it is the best and
    `~` where it is not told from it; then its difference from the baseline, and the strategy's figures over all architectures."""
    lines = [
        {"setting": table.title, "strategy": strategy, "architecture": architecture}
        | _numbers(entry)
        | (_compared(comparisons[table.setting], strategy, place) if table.setting in comparisons else {})
        for table in tables
        for strategy, entries in table.rows.items()
        for place, (architecture, entry) in enumerate(zip(table.columns, entries, strict=True))
    ]
    return pd.DataFrame(lines).to_csv(index=False, float_format="%.7g", lineterminator="\n").rstrip("\n")


def latex_escape(text: str) -> str:
    """Text as LaTeX writes it; a hyphen before a digit is a minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text.translate(_LATEX)).replace("±", r"$\pm$")


def mean_and_seeds(entry: Entry) -> str:
    """`67.10 ± 0.20 n=3`, and what is missing of it."""
    value = f"{number(entry.values['best'])} n={entry.n}" if entry.n else ""
    return " ".join(word for word in (value, "" if entry.complete else missing(entry)) if word)


def _numbers(entry: Entry) -> dict[str, object]:
    summaries = {name: entry.values.get(name, Summary(math.nan, None)) for name in MEASURES}
    values = {f"{name}_{part}": value for name, summary in summaries.items() for part, value in vars(summary).items()}
    marks = {"marked": "*" if entry.best else "~" if entry.tied else "", "absent": "" if entry.complete else missing(entry)}
    return {"n": entry.n, "runs": entry.n + sum(entry.absent.values())} | values | marks | {"device_hours": entry.hours}


def _compared(comparison: Comparison, strategy: str, place: int) -> dict[str, object]:
    line = comparison.lines[strategy]
    found, pooled = line.differences[place], line.pooled
    return {
        "baseline": comparison.baseline,
        **{f"difference{part and '_' + part}": getattr(found, part or "mean", None) for part in ("", "low", "high", "p", "n")},
        **{f"unpaired{part and '_' + part}": getattr(line.of_means[place], part or "mean", None) for part in ("", "low", "high")},
        **{name: getattr(line, name) for name in ("geometric_mean", "rank", "hours")},
        **{f"pooled_{part}": getattr(pooled, part, None) for part in ("mean", "p", "n")},
        "pooled_p_holm": line.adjusted,
    }


def _strings(table: Table, mark: Mark, sign: str, usual: int | None = None) -> pd.DataFrame:
    """The table as strings: rows are strategies, columns pairs of architecture and measure; short where an n is usual."""
    columns = pd.MultiIndex.from_product([table.columns, table.measures])
    rows = [
        [
            _string(entry, measure, mark if measure == table.measure else None, sign, usual)
            for entry in entries
            for measure in table.measures
        ]
        for entries in table.rows.values()
    ]
    return pd.DataFrame(rows, index=pd.Index(table.rows.keys(), name="strategy"), columns=columns)


def _string(entry: Entry, measure: str, mark: Mark | None, sign: str, usual: int | None) -> str:
    summary = entry.values.get(measure)
    if mark is None:
        return "" if summary is None else number(summary, sign) if usual is None else f"{summary.mean:.2f}"
    value = number(summary, sign) if summary else ""
    words = [mark(value, entry), f"n={entry.n}" if entry.n not in (0, usual) else "", missing(entry) if not entry.complete else ""]
    return " ".join(word for word in words if word)


def _mark_markdown(value: str, entry: Entry) -> str:
    return f"**{value}**" if entry.best else f"<ins>{value}</ins>" if entry.tied else value


def _mark_latex(value: str, entry: Entry) -> str:
    return rf"\textbf{{{value}}}" if entry.best else rf"\underline{{{value}}}" if entry.tied else value


def _grid(cells: pd.DataFrame) -> str:
    return cells.to_markdown(disable_numparse=True, colalign=["left"] + ["right"] * cells.shape[1])


def _tabular(cells: pd.DataFrame, title: str) -> str:
    layout = "l" + "r" * cells.shape[1]
    text = cells.style.to_latex(hrules=True, multicol_align="c", column_format=layout, caption=latex_escape(title)).rstrip()
    # Smaller where it would be wider than the text, and only there.
    fitted = text.replace(r"\begin{tabular}", r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" + "\n" r"\begin{tabular}")
    return fitted.replace(r"\end{tabular}", r"\end{tabular}}")


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_cell(line)}" for line in lines)


def _comments(lines: Sequence[str]) -> str:
    return "\n".join(f"% {line}" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"[|*<]", r"\\\g<0>", text)


_LATEX = {ord(character): f"\\{character}" for character in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
}
