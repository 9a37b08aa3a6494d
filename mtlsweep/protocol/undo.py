"""Back to an earlier version."""

import hashlib
from pathlib import Path

from mtlsweep.protocol.entry import FILE, Entry
from mtlsweep.protocol.ledger import content
from mtlsweep.protocol.lock import locked
from mtlsweep.runs import files


def undo(path: Path, number: int) -> Path | None:
    """Put the version of a trial back into the author's file.

    Returns:
        Where the file that it replaces is kept, if that is no stored version.

    Raises:
        UserError: there is no such trial, or the entry is closed.
    """
    with locked(path):
        entry = Entry.read(path)
        entry.check_open()
        stored = entry.version(entry.trial(number)).read_bytes()
        kept = _keep_edits(entry)
        files.write_bytes(path / FILE, lambda file: file.write(stored))
        entry.record("undo", trial=number)
        return kept


def _keep_edits(entry: Entry) -> Path | None:
    """Nobody's work is lost: a file that is not stored goes to a name of its content's."""
    edited = content(entry.path / FILE)
    source = hashlib.sha256(edited or b"").hexdigest()
    if not edited or source in {trial.source for trial in entry.trials}:
        return None
    kept = entry.path / f"my_loss-{source[:8]}.py"
    files.write_bytes(kept, lambda file: file.write(edited))
    return kept
