"""The ledger of an entry: one line of JSON for each thing that happened, none of which is ever changed.

A line holds the hash of the line before it, and its own: the SHA-256 of all of it but that. So an edit of any line is seen at that line,
unless its hash and all later ones are made anew; then the last one, the head, is another.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs import files, now

NAME = "ledger.jsonl"

# What the first line follows.
START = "0" * 64

Line = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """A ledger as it was when it was read.

    Attributes:
        path: of its file.
        lines: each of them `number`, `time`, `event`, what belongs to that event, `previous` and `hash`.
        text: of the file.
    """

    path: Path
    lines: tuple[Line, ...]
    text: str

    @classmethod
    def create(cls, path: Path, event: str, **what: Any) -> "Ledger":
        """Begin a ledger with this line.

        Raises:
            FileExistsError: there is one.
        """
        path.open("x").close()
        return cls(path, (), "").append(event, **what)

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Read a ledger and check its chain of hashes.

        Raises:
            UserError: there is none, or a line has been changed, added or taken away; the message names the first that does not fit.
        """
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError as error:
            raise UserError(f"{path.parent}: not an entry (no {NAME})") from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error})") from error
        lines: list[Line] = []
        for number, written in enumerate(text.splitlines(keepends=True), start=1):
            fault = _fault(written, number, lines[-1]["hash"] if lines else START)
            if fault:
                raise UserError(f"{path}, line {number}: {fault}")
            lines.append(json.loads(written))
        if not lines:
            raise UserError(f"{path}: is empty")
        return cls(path, tuple(lines), text)

    @property
    def head(self) -> str:
        """The hash of the last line: who knows it knows all of the ledger."""
        return str(self.lines[-1]["hash"]) if self.lines else START

    def append(self, event: str, **what: Any) -> "Ledger":
        """Add a line.

        Raises:
            UserError: the file is not what was read.
        """
        if self.path.read_bytes() != self.text.encode():
            raise UserError(f"{self.path}: has been changed meanwhile, by something that is not this tool")
        line: Line = {"number": len(self.lines) + 1, "time": now(), "event": event} | what | {"previous": self.head}
        line["hash"] = _hash(line)
        grown = Ledger(self.path, (*self.lines, line), f"{self.text}{json.dumps(line)}\n")
        files.write_text(self.path, grown.text)  # at once: no crash leaves half a line
        return grown


def content(path: Path) -> bytes | None:
    """A file's content; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def digest(path: Path) -> str | None:
    """The SHA-256 of a file; None where it cannot be read."""
    found = content(path)
    return None if found is None else hashlib.sha256(found).hexdigest()


def _hash(line: Line) -> str:
    return hashlib.sha256(json.dumps({key: value for key, value in line.items() if key != "hash"}).encode()).hexdigest()


def _fault(written: str, number: int, previous: str) -> str | None:
    try:
        line = json.loads(written)
    except ValueError:
        return "is not JSON: it has been changed"
    if not isinstance(line, dict) or f"{json.dumps(line)}\n" != written or line.get("hash") != _hash(line):
        return "has been changed: it does not have the hash that it names"
    if (line.get("number"), line.get("previous")) != (number, previous):
        return "does not follow the line before it: lines have been taken away, added or exchanged"
    return None
