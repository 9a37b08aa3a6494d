"""All strategies of the collection in one table, read from their YAML files and classes."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import hydra
from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from mtlsweep.losses import GramStrategy
from mtlsweep.settings import build, check_call

OPTIONS = Path(__file__).resolve().parents[1] / "conf" / "loss"


@dataclass(frozen=True)
class Entry:
    """One strategy.

    Attributes:
        name: of the option, `loss=<name>`.
        kind: "scalar" (a function of the losses) or "Gram" (of the trunk gradients' inner products).
        passes: forward (F) and backward (B) passes a step.
        parameters: settings with their defaults.
        state: what it learns or remembers: parameters and buffers.
        source: first line of its file: the method's name and paper.
    """

    name: str
    kind: str
    passes: str
    parameters: str
    state: str
    source: str


def catalogue() -> list[Entry]:
    """The strategies that `loss=glob(*)` stands for, by name."""
    return [_entry(path) for path in sorted(OPTIONS.glob("*.yaml"))]


def _entry(path: Path) -> Entry:
    node = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(node, dict)
    call = check_call(node, path.stem)
    strategy = build(call)
    gram = isinstance(strategy, GramStrategy)
    parameters = ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in call.items() if key[0] != "_"
    )
    state = ", ".join(name for name, _ in [*strategy.named_parameters(), *strategy.named_buffers()])
    source = (sys.modules[hydra.utils.get_class(call["_target_"]).__module__].__doc__ or "").strip().splitlines()[0]
    return Entry(path.stem, "Gram" if gram else "scalar", "1F 2B" if gram else "1F 1B", parameters, state, source)


def markdown(entries: list[Entry]) -> str:
    """The table as a page."""
    columns = list(Entry.__dataclass_fields__)
    lines = ["# Strategies", "", "Made by `python -m mtlsweep strategies --format markdown > docs/strategies.md`.", ""]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(asdict(entry).values())} |" for entry in entries]
    return "\n".join(lines) + "\n"


def show(entries: list[Entry]) -> None:
    """The table for a terminal."""
    table = Table(*Entry.__dataclass_fields__, box=box.SIMPLE_HEAD)
    for entry in entries:
        table.add_row(*asdict(entry).values())
    console = Console()
    console.print(table)
    console.print(f"{len(entries)} strategies; formula, limits and what could not be verified: mtlsweep/losses/<name>.py", highlight=False)
