"""What is shown while runs train: lines always, bars where the output is a terminal."""

from types import TracebackType
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mtlsweep.pipe import stop_writing


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """The reader of the output has left, as `head` does: Ctrl-C, not the failure of the run at hand that rich's SystemExit would be.

        Raises:
            KeyboardInterrupt: always.
        """
        self.quiet = True
        stop_writing()
        raise KeyboardInterrupt


console = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


class Screen:
    """Where the lines and the bars of a sweep's runs appear, as a context manager. Lines are printed above the bars, unchanged."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.printed: set[str] = set()

    def __enter__(self) -> "Screen":
        self.bars.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bars.__exit__(kind, error, trace)


class Display:
    """One run's part of the screen: its lines, and its steps as a bar.

    Args:
        screen: of the sweep.
        title: of the bar.
        prefix: what its lines begin with, to tell runs apart that take turns.
    """

    def __init__(self, screen: Screen | None = None, title: str = "steps", prefix: str = "") -> None:
        self._screen = screen or Screen()
        self._title = title
        self._prefix = prefix
        self._bar: TaskID | None = None

    def line(self, text: str) -> None:
        """Print a line."""
        console.print(self._prefix + text)

    def once(self, text: str) -> None:
        """Print a line, unless a run on this screen has printed it already."""
        if text not in self._screen.printed:
            self._screen.printed.add(text)
            console.print(text)

    def start(self, steps: int, done: int) -> None:
        """Begin the bar of so many steps, of which some were done earlier."""
        self._bar = self._screen.bars.add_task(self._title, total=steps, completed=done)

    def step(self) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._screen.bars.advance(self._bar)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._screen.bars.remove_task(self._bar)
            self._bar = None
