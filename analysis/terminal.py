"""Tables as text: coloured in a terminal, plain elsewhere, and no wider than the page."""

import os
import re
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from analysis.render import Sheets, missing, title
from analysis.sheet import Sheet
from analysis.table import Entry, Table

# Width where nobody says how wide the page is, in a file or a pipe.
_FILE_WIDTH = 100

# Labels may be wrapped to this width to make room for numbers.
_LABEL_WIDTH = 18

# Characters between two columns.
_GAP = 2


def show(tables: Sequence[Table], first: Sequence[str], notes: Sequence[str], sheets: Sheets) -> None:
    """Print tables, each with its sheets, on standard output: after what must be known first, and before the notes.

    The best of a column has a star and, in a terminal, is bold; what is not told from it has a tilde and is underlined.
    """
    console = _console()
    if first:
        _say(console, first, style="")
    for table in tables:
        console.print(Text(title(table), style="bold"), end="\n\n")
        for grid in _grids(table, console.width):
            console.print(grid)
            console.print()
        for sheet in sheets.get(table.setting, ()):
            _show_sheet(console, sheet)
    _say(console, notes)


def show_sheets(sheets: Sequence[Sheet], notes: Sequence[str]) -> None:
    """Print sheets and notes on standard output."""
    console = _console()
    for sheet in sheets:
        _show_sheet(console, sheet)
    _say(console, notes)


def _console() -> Console:
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(file=sys.stdout, width=None if known else _FILE_WIDTH, highlight=False)


def _show_sheet(console: Console, sheet: Sheet) -> None:
    """The sheet under its title, as many columns at a time as fit; its remarks below."""
    console.print(Text(sheet.title, style="bold"), end="\n\n")
    widths = [max(map(len, [head, *(words[place] for _, words in sheet.rows)])) + _GAP for place, head in enumerate(sheet.columns)]
    room = console.width - min(max((len(name) for name, _ in sheet.rows), default=0), _LABEL_WIDTH)
    start = 0
    while start < len(widths):
        stop = start + 1
        while stop < len(widths) and sum(widths[start : stop + 1]) <= room:
            stop += 1
        grid = _grid(sheet.corner)
        for head in sheet.columns[start:stop]:
            grid.add_column(Text(head), no_wrap=True, justify="right")
        for name, words in sheet.rows:
            grid.add_row(Text(fold(name, console.width - sum(widths[start:stop]))), *map(Text, words[start:stop]))
        console.print(grid)
        console.print()
        start = stop
    _say(console, sheet.remarks)


def _say(console: Console, lines: Sequence[str], style: str = "dim") -> None:
    for line in lines:
        # A path must stay whole, to be copied.
        console.print(Text(line, style=style), soft_wrap="/" in line)
    console.print()


def _grid(corner: str) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    grid.add_column(Text(corner), overflow="fold")
    return grid


def _grids(table: Table, width: int) -> list[Grid]:
    """The table on a page of this width: other measures beside the first if all columns fit so; else below it, as many columns as fit."""
    labels = min(max(map(len, table.rows)), _LABEL_WIDTH)
    count = len(table.columns)
    beside, below = _Layout(table, True), _Layout(table, False)
    if labels + count * (_GAP + beside.width) <= width:
        return [beside.grid(0, count, width)]
    size = max(1, (width - labels) // (_GAP + below.width))
    return [below.grid(start, min(start + size, count), width) for start in range(0, count, size)]


def fold(label: str, width: int) -> str:
    """A label in lines of at most this width where it has places to break: before a bracket, after an equals sign or a comma."""
    lines = [""]
    for part in re.split(r"(?=\[)|(?<==)|(?<=,)", label):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
    return "\n".join(lines)


class _Layout:
    """How the entries of a table are written: the other measures beside the first or below it."""

    def __init__(self, table: Table, beside: bool) -> None:
        self.table = table
        self.beside = beside
        self.others = table.measures[1:]
        entries = [entry for row in table.rows.values() for entry in row]
        self.with_sd = any(entry.n and entry.values[table.measure].sd is not None for entry in entries)
        self.first_width = max(len(self._first(entry)) for entry in entries)
        lines = [line for entry in entries for line in self._entry(entry).plain.splitlines()]
        self.width = max(map(len, [*lines, self._header("").plain, *table.columns]))

    def grid(self, start: int, stop: int, page: int) -> Grid:
        """The columns from `start` to before `stop`, on a page of this width."""
        grid = _grid("strategy")
        for name in self.table.columns[start:stop]:
            grid.add_column(self._header(name), no_wrap=True, min_width=self.width)
        room = page - (stop - start) * (_GAP + self.width)
        for label, entries in self.table.rows.items():
            grid.add_row(Text(fold(label, room)), *map(self._entry, entries[start:stop]))
        return grid

    def _header(self, name: str) -> Text:
        if not self.beside:
            return Text(name)
        return Text(f"{name}\n").append(
            f" {self.table.measure}".ljust(self.first_width) + "".join(f"  {other:>5}" for other in self.others), "dim"
        )

    def _entry(self, entry: Entry) -> Text:
        if not entry.n:
            return Text(f" {missing(entry)}", "red" if "failed" in entry.absent else "yellow" if entry.absent else "dim")
        others = [f"{entry.values[name].mean:5.2f}" if name in entry.values else "" for name in self.others]
        text = Text().append(self._first(entry).ljust(self.first_width if self.beside else 0), _STYLES[_mark(entry)])
        if self.beside:
            text.append("".join(f"  {value:>{max(5, len(name))}}" for name, value in zip(self.others, others, strict=True)), "dim")
        else:
            text.append("".join(f"\n {name} {value}" for name, value in zip(self.others, others, strict=True)), "dim")
        return text.append("".join(f"\n +{count} {state}" for state, count in entry.absent.items()), "red")

    def _first(self, entry: Entry) -> str:
        if not entry.n:
            return ""
        value = entry.values[self.table.measure]
        sd = "" if not self.with_sd else " " * 7 if value.sd is None else f" ± {value.sd:4.2f}"
        return f"{_mark(entry)}{value.mean:5.2f}{sd} n={entry.n}"


def _mark(entry: Entry) -> str:
    return "*" if entry.best else "~" if entry.tied else " "


_STYLES = {"*": "bold green", "~": "underline", " ": ""}
