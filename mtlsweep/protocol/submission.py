"""The submission: one trial's version is run on the held-out architecture too, and the entry is closed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.protocol import results
from mtlsweep.protocol.entry import Entry
from mtlsweep.protocol.ledger import digest
from mtlsweep.protocol.lock import locked
from mtlsweep.protocol.request import Request
from mtlsweep.protocol.rules import HELD_OUT
from mtlsweep.protocol.trial import Order, say_rehearsal
from mtlsweep.protocol.verification import damages
from mtlsweep.runs import files
from mtlsweep.runs.provenance import code_version

FINAL = "entry.json"


def submit(path: Path, number: int, words: Sequence[str], limit: float | None = None) -> bool:
    """Submit the version of a finished trial, or go on with its unfinished submission.

    Args:
        path: of the entry.
        number: of the trial.
        words: Hydra overrides.
        limit: minutes that the architecture may take.

    Returns:
        Whether the submission is finished.

    Raises:
        UserError: the rules do not allow it, or the entry is not as its ledger says.
        KeyboardInterrupt: the user ended it.
    """
    with locked(path) as lock:
        entry, request = Entry.read(path), Request.of(words)
        _check_allowed(entry, number)
        trial = entry.trial(number)
        order = Order.of(entry, request, entry.version(trial), HELD_OUT)
        if not entry.submitted:
            entry.record("submit", trial=number, overrides=request.said, code=code_version())
        say_rehearsal(entry, trial)
        print(f"submission of trial {number}: {', '.join(HELD_OUT)}, seed {', '.join(map(str, request.seeds))}", flush=True)
        finished = order.carry_out("the submission", lock, limit)
        if finished:
            _close(entry, results.collect(path, order.cells))
        return finished


def final_entry(entry: Entry, held_out: results.Runs) -> dict[str, Any]:
    """What `entry.json` says; it follows from the ledger."""
    trial = entry.submitted
    assert trial is not None
    runs = trial.runs | held_out
    return {
        "trial": trial.number,
        "trials": len(entry.trials),
        "rehearsal": trial.begun["rehearsal"],
        "file": trial.begun["file"],
        "sha256": trial.source,
        "setting": trial.begun["setting"],
        "accuracies": {
            model: {seed: {key: run[key] for key in ("status", "best", "last")} for seed, run in seeds.items()}
            for model, seeds in runs.items()
        },
        "geometric_mean": results.geometric_mean(runs),
    }


def _check_allowed(entry: Entry, number: int) -> None:
    chosen = entry.submitted
    if entry.final:
        entry.check_open()
    if chosen and chosen.number != number:
        raise UserError(f"{entry.path}: trial {chosen.number} was submitted; `submit` {chosen.number} finishes it")
    trial = entry.trial(number)
    if trial.state != "finished":
        raise UserError(f"trial {number} is {trial.state}: only the version of a finished trial can be submitted")
    found = damages(entry)
    if found:
        raise UserError(f"{entry.path}: is not as its ledger says: {found[0]} (`verify` names everything)")


def _close(entry: Entry, held_out: results.Runs) -> None:
    final = final_entry(entry, held_out)
    files.write_json(entry.path / FINAL, final)
    entry.record("close", runs=held_out, entry=digest(entry.path / FINAL))
    print(*results.log_lines(entry.path, held_out), sep="\n")
    print(f"[Submission of test #{final['trial']}{', a rehearsal' if final['rehearsal'] else ''}] best fine test accuracy, %:")
    assert entry.submitted is not None
    for model, seeds in (entry.submitted.runs | held_out).items():
        print(f"  {results.summary(model, seeds)}{', held out' if model in HELD_OUT else ''}")
    mean = final["geometric_mean"]
    print(f"  geometric mean {'incomplete' if mean is None else f'{mean:.2f}'}")
    print(f"ledger head {entry.ledger.head}: keep it elsewhere; `verify --head` compares")
