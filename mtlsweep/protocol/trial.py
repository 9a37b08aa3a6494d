"""A trial: the author's file is checked, stored, and run on the visible architectures."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.plan import check as check_parts
from mtlsweep.plan import plan
from mtlsweep.protocol import results, sweep
from mtlsweep.protocol.check import check
from mtlsweep.protocol.entry import FILE, Entry, Trial
from mtlsweep.protocol.ledger import content, digest
from mtlsweep.protocol.lock import locked
from mtlsweep.protocol.request import Request, setting
from mtlsweep.protocol.rules import VISIBLE, check_same, departures
from mtlsweep.runs import Cell, files
from mtlsweep.runs.provenance import code_version


@dataclass(frozen=True)
class Order:
    """A sweep that a trial or a submission needs.

    Attributes:
        request: of the command.
        entry: the entry's folder.
        file: the stored version.
        models: the architectures.
        cells: its runs.
    """

    request: Request
    entry: Path
    file: Path
    models: tuple[str, ...]
    cells: list[Cell]

    @classmethod
    def of(cls, entry: Entry, request: Request, file: Path, models: tuple[str, ...]) -> "Order":
        """Compose the runs, and check them as the sweep will: their parts, their data.

        Raises:
            UserError: something is at fault, or the setting is not that of the entry's first trial; nothing has been trained then.
        """
        cells = request.cells(entry.path, file, models)
        if entry.trials:
            check_same((setting(cells), request.seeds), entry.trials[0].setting, entry.trials[0].begun["overrides"])
        launcher = [word for word in request.overrides if word.startswith("hydra/launcher=")]
        check_parts(list(plan(cells).values()), here=launcher[-1:] in ([], ["hydra/launcher=local"]))
        return cls(request, entry.path, file, models, cells)

    def carry_out(self, what: str, lock: int, limit: float | None) -> bool:
        """Run what is missing, and name each run that has not ended well.

        Args:
            what: the runs are for: the trial, the submission.
            lock: of the entry.
            limit: minutes that each architecture may take, all seeds together; None: any time.

        Returns:
            Whether all runs have ended.

        Raises:
            KeyboardInterrupt: the user ended it.
        """
        command = self.request.command(self.entry, self.file, self.models)
        stopped: list[str] = []
        try:
            sweep.run(command, lock, limit and limit * 60 * len(self.models))
        except sweep.LimitReached:
            stopped.append(f"stopped after {limit:g} min for each of {len(self.models)} architectures (--limit)")
        left = results.unfinished(self.cells)
        if left:
            print(*(f"{what} is not finished: {line}" for line in stopped + left), sep="\n")
            print(f"the same command goes on with {what}, which is counted once")
        return not left


def run_trial(path: Path, words: Sequence[str], limit: float | None = None, abandon: bool = False) -> bool:
    """Begin the next trial, or go on with the unfinished one.

    Args:
        path: of the entry.
        words: Hydra overrides.
        limit: minutes that each architecture may take.
        abandon: first give the unfinished trial up; it counts.

    Returns:
        Whether the trial is finished.

    Raises:
        UserError: the rules do not allow it, or the file has a fault; nothing is counted then.
        KeyboardInterrupt: the user ended it.
    """
    with locked(path) as lock:
        entry, request = Entry.read(path), Request.of(words)
        entry.check_open()
        if abandon:
            _abandon(entry)
        trial = entry.unfinished
        order = _resume(entry, trial, request) if trial else _begin(entry, request)
        trial = entry.trials[-1]
        say_rehearsal(entry, trial)
        print(f"trial {trial.number}: {', '.join(VISIBLE)}, seed {', '.join(map(str, request.seeds))}", flush=True)
        finished = order.carry_out(f"trial {trial.number}", lock, limit)
        if finished:
            _finish(entry, trial, order)
        return finished


def say_rehearsal(entry: Entry, trial: Trial) -> None:
    """Name what makes a trial's runs no entry to the benchmark."""
    if trial.begun["rehearsal"]:
        print(f"rehearsal: {'; '.join(departures(*trial.setting, entry.allowed))}", flush=True)


def _abandon(entry: Entry) -> None:
    if not entry.unfinished:
        raise UserError("--abandon: no trial is unfinished")
    entry.record("abandon", trial=entry.unfinished.number)


def _resume(entry: Entry, trial: Trial, request: Request) -> Order:
    if digest(entry.path / FILE) != trial.source:
        raise UserError(
            f"{FILE} is not what trial {trial.number} began with, which is unfinished: `undo` {trial.number} and `test` finish it, "
            "`test --abandon` gives it up (it counts) and begins the next"
        )
    return Order.of(entry, request, entry.version(trial), VISIBLE)


def _begin(entry: Entry, request: Request) -> Order:
    if not entry.remaining:
        raise UserError(f"all {entry.allowed} trials are used; `submit` one of them")
    source = content(entry.path / FILE)
    if source is None:
        raise UserError(f"{entry.path / FILE}: cannot be read; `undo` brings a stored version back")
    for trial in entry.trials:
        if hashlib.sha256(source).hexdigest() == trial.source:
            raise UserError(f"{FILE} is unchanged since trial {trial.number}: nothing to test, nothing counted")
    check(source)
    stored = Path("versions", str(len(entry.trials) + 1), FILE)
    try:
        (entry.path / stored).parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(entry.path / stored, lambda file: file.write(source))
        order = Order.of(entry, request, entry.path / stored, VISIBLE)
    except BaseException:
        shutil.rmtree((entry.path / stored).parent, ignore_errors=True)
        raise
    shared = setting(order.cells)
    entry.record(
        "begin",
        trial=len(entry.trials) + 1,
        file=stored.as_posix(),
        sha256=hashlib.sha256(source).hexdigest(),
        rehearsal=bool(departures(shared, request.seeds, entry.allowed)),
        seeds=request.seeds,
        setting=shared,
        overrides=request.said,
        code=code_version(),
    )
    return order


def _finish(entry: Entry, trial: Trial, order: Order) -> None:
    runs = results.collect(entry.path, order.cells)
    entry.record("finish", trial=trial.number, runs=runs)
    print(*results.log_lines(entry.path, runs), sep="\n")
    print(f"mean best fine test accuracy, %: {', '.join(results.summary(model, seeds) for model, seeds in runs.items())}")
    print(f"[Test #{trial.number}] ({entry.remaining} {'test' if entry.remaining == 1 else 'tests'} remaining)")
