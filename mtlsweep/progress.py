"""What is shown while runs train: lines always, bars where the output is a terminal."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


class Display:
    """The steps of the run at hand as a bar, as a context manager. Lines are printed above the bar, unchanged."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._run: TaskID | None = None
        self._printed: set[str] = set()
        self.title = "steps"

    def __enter__(self) -> "Display":
        self._bars.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.__exit__(kind, error, trace)

    def line(self, text: str) -> None:
        """Print a line."""
        console.print(text)

    def once(self, text: str) -> None:
        """Print a line, unless it has been printed already."""
        if text not in self._printed:
            self._printed.add(text)
            self.line(text)

    def start(self, steps: int, done: int) -> None:
        """Begin the bar of a run of so many steps, of which some were done earlier."""
        if self._run is not None:
            self._bars.remove_task(self._run)
        self._run = self._bars.add_task(self.title, total=steps, completed=done)

    def step(self) -> None:
        """One more step of the run is done."""
        if self._run is not None:
            self._bars.advance(self._run)


def duration(seconds: float) -> str:
    """A length of time for people: `45 s`, `3 min 05 s`, `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
