"""The files of a measurement: JSON for programs, markdown for people, written anew after every table."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.section import Section

QUICK = "quick: the smallest network and the fewest steps. These figures mean nothing"


@dataclass
class Record:
    """A measurement, as far as it has come.

    Attributes:
        path: of its files, without their endings.
        machine: what it is made on.
        quick: whether its figures mean nothing.
    """

    path: Path
    machine: dict[str, Any]
    quick: bool
    sections: list[tuple[str, Section]] = field(default_factory=list)
    ended: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, section: Section) -> None:
        """Keep a table, in both files."""
        self.sections.append((part, section))
        self.ended = {"date": machine.now(), "load average": list(os.getloadavg())}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file(".json").write_text(json.dumps(self._content(), indent=1))
        self._file(".md").write_text(self.markdown())

    def markdown(self) -> str:
        """Where and when, and all tables."""
        head = [f"# Benchmarks\n\n{machine.sentence(self.machine)}; at the end {self.ended['load average'][0]:.1f}."]
        marked = [QUICK] if self.quick else []
        return "\n\n".join([*head, *marked, *(section.markdown() for _, section in self.sections)]) + "\n"

    def _content(self) -> dict[str, Any]:
        sections = [{"part": part} | asdict(section) for part, section in self.sections]
        return {"machine": self.machine, "ended": self.ended, "quick": self.quick, "sections": sections}

    def _file(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)
