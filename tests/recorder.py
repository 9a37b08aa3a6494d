"""A tracker that keeps in memory what it was told, and fails on request."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mtlsweep.loggers import Entry, Logger


class Recorder(Logger):
    """Refuses the call that `fails` names.

    Attributes:
        kept: of all runs of this process, by study and key, the recorder with what its entry holds.
    """

    kept: ClassVar[dict[tuple[str, str], "Recorder"]] = {}

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.entry: Entry | None = None
        self.rows: list[dict[str, Any]] = []
        self.result: Mapping[str, Any] = {}
        self.state = ""

    def start(self, entry: Entry) -> int:
        self._fail("start")
        earlier = self.kept.get((entry.study.name, entry.key))
        self.entry, self.rows = entry, earlier.rows if earlier else []
        self.kept[entry.study.name, entry.key] = self
        return len(self.rows)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self._fail("epoch")
        self.rows.append(dict(row))

    def finish(self, result: Mapping[str, Any]) -> None:
        self._fail("finish")
        self.result, self.state = result, result["status"]

    def leave(self, state: str) -> None:
        self._fail("leave")
        self.state = state

    def _fail(self, call: str) -> None:
        if call == self.fails:
            raise ConnectionError(f"no tracker in {call}\nand more")
