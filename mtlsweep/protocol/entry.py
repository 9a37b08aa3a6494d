"""An entry: a folder with the author's file, the stored versions, their runs and the ledger that says how they came about.

| path | what |
|---|---|
| `my_loss.py` | the author's file, edited freely |
| `ledger.jsonl` | what happened, see `ledger` |
| `versions/<n>/my_loss.py` | the file of trial n, as it was when the trial began; this copy is what is run |
| `runs/` | a study: the runs of the trials and of the submission |
| `entry.json` | after submission: the final entry |
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtlsweep.errors import UserError
from mtlsweep.protocol import skeleton
from mtlsweep.protocol.ledger import NAME, Ledger, Line, digest
from mtlsweep.protocol.rules import VERSION, Setting

FILE = "my_loss.py"


@dataclass
class Trial:
    """A trial.

    Attributes:
        number: from 1.
        begun: the line with which it began: `file`, `sha256`, `setting`, `seeds`, `rehearsal`, `overrides`, `code`.
        state: "unfinished", "finished" or "abandoned".
        runs: of a finished one, see `results`.
    """

    number: int
    begun: Line
    state: str = "unfinished"
    runs: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """SHA-256 of its file."""
        return str(self.begun["sha256"])

    @property
    def setting(self) -> tuple[Setting, list[int]]:
        """What its runs share, and their seeds."""
        return self.begun["setting"], self.begun["seeds"]


@dataclass
class Entry:
    """What a ledger says of an entry.

    Attributes:
        path: its folder.
        ledger: as read.
        allowed: number of trials.
        trials: those that have begun, in order.
        submitted: the trial that was chosen for submission; from then on there is no other.
        held_out: the runs of the submission, see `results`; empty until it is finished.
        final: the hash of `entry.json`; None until it is finished.
    """

    path: Path
    ledger: Ledger
    allowed: int = 0
    trials: list[Trial] = field(default_factory=list)
    submitted: Trial | None = None
    held_out: dict[str, Any] = field(default_factory=dict)
    final: str | None = None

    @classmethod
    def create(cls, path: Path, trials: int) -> "Entry":
        """Make the folder of a new entry.

        Raises:
            UserError: it is there already and not empty, or its runs could not be told its path.
        """
        try:
            OmegaConf.create([str(path.absolute())])
        except OmegaConfBaseException as error:
            raise UserError(f"{path.absolute()}: Hydra takes no path that has ${{ in it without a name and a }} behind") from error
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path}: exists already and is not an empty folder")
        path.mkdir(parents=True, exist_ok=True)
        ledger = Ledger.create(path / NAME, "init", rules=VERSION, trials=trials)
        (path / FILE).write_bytes(Path(skeleton.__file__).read_bytes())
        return cls(path, ledger, trials)

    @classmethod
    def read(cls, path: Path) -> "Entry":
        """Read an entry from its ledger.

        Raises:
            UserError: there is none, or its ledger has been edited or breaks the rules.
        """
        entry = cls(path, Ledger.read(path / NAME))
        for line in entry.ledger.lines:
            try:
                entry._follow(line)
            except (LookupError, TypeError, ValueError) as error:
                raise UserError(f"{entry.ledger.path}, line {line['number']}: is not what this tool writes ({error})") from error
        return entry

    def record(self, event: str, **what: Any) -> None:
        """Write a line into the ledger.

        Raises:
            UserError: the ledger has been changed meanwhile.
        """
        self.ledger = self.ledger.append(event, **what)
        self._follow(self.ledger.lines[-1])

    @property
    def remaining(self) -> int:
        """How many trials are left. A trial counts from the moment its training begins."""
        return self.allowed - len(self.trials)

    @property
    def unfinished(self) -> Trial | None:
        """The trial that has begun and not ended."""
        return next((trial for trial in self.trials if trial.state == "unfinished"), None)

    def check_open(self) -> None:
        """Raise UserError where a trial was submitted."""
        if self.submitted:
            raise UserError(f"{self.path}: trial {self.submitted.number} was submitted, the entry is closed")

    def trial(self, number: int) -> Trial:
        """A trial by its number.

        Raises:
            UserError: there is none of this number.
        """
        if 1 <= number <= len(self.trials):
            return self.trials[number - 1]
        stored = ", ".join(str(trial.number) for trial in self.trials) or "none"
        raise UserError(f"there is no trial {number}; stored: {stored}")

    def version(self, trial: Trial) -> Path:
        """The stored file of a trial.

        Raises:
            UserError: it has been changed or removed.
        """
        path = self.path / trial.begun["file"]
        if digest(path) != trial.source:
            raise UserError(f"{path}: is not the file that trial {trial.number} began with")
        return path

    def _follow(self, line: Line) -> None:
        """Take one more line in. Raises ValueError, LookupError or TypeError where it cannot be."""
        event = line["event"]
        if (event == "init") is not (line["number"] == 1):
            raise ValueError("an entry begins once")
        if self.submitted and event != "close":
            raise ValueError(f"{event} after a submission")
        match event:
            case "init":
                _require(line["rules"] == VERSION, f"rules of version {line['rules']}, this tool knows {VERSION}")
                self.allowed = int(line["trials"])
            case "begin":
                _require(
                    line["trial"] == len(self.trials) + 1 <= self.allowed and not self.unfinished, f"trial {line['trial']} is not next"
                )
                self.trials.append(Trial(line["trial"], line))
            case "finish" | "abandon":
                trial = self._numbered(line, "unfinished")
                trial.state, trial.runs = ("finished", line["runs"]) if event == "finish" else ("abandoned", {})
            case "undo":
                self.trials[line["trial"] - 1]
            case "submit":
                self.submitted = self._numbered(line, "finished")
            case "close":
                _require(self.submitted is not None and self.final is None, "nothing to close")
                self.held_out, self.final = line["runs"], line["entry"]
            case _:
                raise ValueError(f"unknown event {event}")

    def _numbered(self, line: Line, state: str) -> Trial:
        trial = self.trials[line["trial"] - 1]
        _require(line["trial"] == trial.number and trial.state == state, f"trial {trial.number} is {trial.state}")
        return trial


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
