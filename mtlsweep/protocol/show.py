"""What has become of an entry, for people."""

from pathlib import Path

from mtlsweep.protocol import results
from mtlsweep.protocol.entry import FILE, Entry
from mtlsweep.protocol.ledger import digest
from mtlsweep.protocol.rules import HELD_OUT


def show(path: Path) -> None:
    """Print an entry's trials, what is left, and what the author's file is.

    Raises:
        UserError: there is none, or its ledger has been edited.
    """
    entry = Entry.read(path)
    print(f"{path}: {len(entry.trials)} of {entry.allowed} trials used{_rehearsal(entry)}")
    for trial in entry.trials:
        found = ", ".join(results.summary(model, seeds) for model, seeds in trial.runs.items())
        print(f"trial {trial.number}  {trial.begun['time']}  {trial.source[:8]}  {trial.state}  {found}".rstrip())
    if entry.submitted:
        held_out = ", ".join(results.summary(model, seeds) for model, seeds in entry.held_out.items())
        print(f"submitted: trial {entry.submitted.number}; {held_out or f'{HELD_OUT[0]} is not finished, `submit` goes on'}")
    else:
        print(f"{FILE} {_current(entry)}")
    print(f"ledger head {entry.ledger.head}")


def _rehearsal(entry: Entry) -> str:
    return ", a rehearsal" if entry.trials and entry.trials[0].begun["rehearsal"] else ""


def _current(entry: Entry) -> str:
    source = digest(entry.path / FILE)
    if source is None:
        return "is missing; `undo` brings a stored version back"
    same = [trial.number for trial in entry.trials if trial.source == source]
    return f"is the version of trial {same[0]}" if same else "has not been tested as it is"
