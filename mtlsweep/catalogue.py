"""All strategies of the collection in one table, read from their YAML files and classes."""

import inspect
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import hydra
from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from mtlsweep.losses import GradientStrategy, GramStrategy, ScalarStrategy, Strategy
from mtlsweep.settings import Settings, build, check_call

# The options of every strategy that combines gradients.
COMMON = {name: parameter.default for name, parameter in inspect.signature(GramStrategy).parameters.items()}
HEAD = """# Strategies

Made by `python -m mtlsweep strategies --format markdown > docs/strategies.md`. Passes: forward (F) and backward (B) passes a step. Scale:
whether the coarse loss's scale matters to the direction of the trunk's update; where it does not, a curriculum does not turn it before the
coarse loss is exactly 0. What combines gradients has the options of [gradient.yaml](../conf/loss/options/gradient.yaml) too.
"""
OPTIONS = Path(__file__).resolve().parents[1] / "conf" / "loss"


@dataclass(frozen=True)
class Entry:
    """One strategy.

    Attributes:
        name: of the option, `loss=<name>`.
        kind: "scalar" (a function of the losses), "Gram" (of the two gradients' inner products) or "gradient" (of the gradients).
        passes: forward (F) and backward (B) passes a step.
        scale: whether the coarse loss's scale matters to the direction of the update. Where not, a fade turns none before it is 0.
        parameters: settings with their defaults, less the `loss/options` of all that combine gradients where they are at their defaults.
        state: what it learns or remembers: parameters and buffers.
        source: first line of its file: the method's name and paper.
    """

    name: str
    kind: str
    passes: str
    scale: str
    parameters: str
    state: str
    source: str


def catalogue() -> list[Entry]:
    """The strategies that `loss=glob(*)` stands for, by name; without options that are another's, as a user's file by a name of its own."""
    return [_entry(path) for path in sorted(OPTIONS.glob("*.yaml")) if "_target_" in OmegaConf.load(path)]


def call_of(option: Path) -> Settings:
    """The checked call of an option's YAML file: the options that its defaults list refers to are at their class's defaults."""
    node = OmegaConf.to_container(OmegaConf.load(option))
    assert isinstance(node, dict)
    return check_call({key: value for key, value in node.items() if key != "defaults"}, option.stem)


def _entry(path: Path) -> Entry:
    call = call_of(path)
    strategy = build(call)
    shown = {key: value for key, value in call.items() if key != "_target_" and COMMON.get(key) != value}
    parameters = ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in shown.items())
    state = ", ".join([*(name for name, _ in strategy.named_parameters()), *strategy._buffers])  # also those made at the first step
    source = (sys.modules[hydra.utils.get_class(call["_target_"]).__module__].__doc__ or "").strip().partition("\n")[0]
    scale = "no" if strategy.scale_invariant else "yes"
    return Entry(path.stem, _kind(strategy), _passes(strategy), scale, parameters, state, source)


def _kind(strategy: Strategy) -> str:
    kinds = {ScalarStrategy: "scalar", GramStrategy: "Gram", GradientStrategy: "gradient"}
    return next(name for kind, name in kinds.items() if isinstance(strategy, kind))


def _passes(strategy: Strategy) -> str:
    forwards = 2 if hasattr(strategy, "after_step") else 1
    backwards = 2 if isinstance(strategy, GramStrategy | GradientStrategy) and strategy.scope != "representation" else 1
    return f"{forwards}F {backwards}B"


def markdown(entries: list[Entry]) -> str:
    """The table as a page."""
    columns = list(Entry.__dataclass_fields__)
    lines = [HEAD]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(asdict(entry).values())} |" for entry in entries]
    return "\n".join(lines) + "\n"


def show(entries: list[Entry]) -> None:
    """The table for a terminal."""
    table = Table(*Entry.__dataclass_fields__, box=box.SIMPLE_HEAD)
    for entry in entries:
        shorter = replace(entry, source=re.sub(r'"[^"]*",? ?', "", entry.source))  # less the paper's title
        table.add_row(*asdict(shorter).values())
    console = Console()
    console.print(table)
    console.print(f"{len(entries)} strategies; formula, limits and what could not be verified: mtlsweep/losses/<name>.py", highlight=False)
