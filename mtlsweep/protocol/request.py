"""From a command's overrides to the runs that a trial or a submission has, and to the sweep that makes them."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import OmegaConf

from mtlsweep import config
from mtlsweep.errors import UserError
from mtlsweep.protocol.rules import SEEDS, Setting, setting_of
from mtlsweep.runs import Cell

ROOT = Path(__file__).resolve().parents[2]
STUDY = "runs"

# What may be said: how long and on which images (all but the benchmark's makes a rehearsal), and how it is executed. The rest is fixed.
OPEN = ("schedule", "data", "engine", "hydra/launcher", "hydra.launcher", "logger", "checkpoint_seconds", "save")


@dataclass(frozen=True)
class Request:
    """What a command asks for.

    Attributes:
        seeds: of each architecture.
        overrides: all but the seeds, for Hydra.
        said: the overrides as they were given, to be said again.
    """

    seeds: list[int]
    overrides: list[str]
    said: str

    @classmethod
    def of(cls, words: Sequence[str]) -> "Request":
        """Read the overrides of a command.

        Raises:
            UserError, HydraException: one of them is none, or sets what is fixed.
        """
        parsed = OverridesParser.create().parse_overrides(list(words))
        seeds = [seed for override in parsed if override.key_or_group == "seed" for seed in _seeds(override)]
        others = [override for override in parsed if override.key_or_group != "seed"]
        for override in others:
            _check_open(override)
        return cls(seeds or list(SEEDS), [str(override.input_line) for override in others], shlex.join(words))

    def cells(self, entry: Path, file: Path, models: Sequence[str]) -> list[Cell]:
        """The runs of a stored version on some architectures, with all seeds, as the sweep will compose them.

        Raises:
            UserError, HydraException, OmegaConfBaseException: the overrides do not describe a run.
        """
        from mtlsweep.compose import Composer  # what a check of the rules alone need not load

        config.register()
        with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
            composer = Composer(GlobalHydra.instance().config_loader())
            cells = []
            for model in models:
                for seed in self.seeds:
                    words = [f"model={model}", f"seed={seed}", *_fixed(entry, file), *self.overrides]
                    composed = compose("config", words, return_hydra_config=True)
                    keys = [str(key) for key in composed if key != "hydra"]
                    cells.append(composer.cell(OmegaConf.masked_copy(composed, keys), composed.hydra))
            return cells

    def command(self, entry: Path, file: Path, models: Sequence[str]) -> list[str]:
        """The ordinary sweep that makes those runs.

        Raises:
            UserError: run.py is not where it belongs.
        """
        script = ROOT / "run.py"
        if not script.is_file():
            raise UserError(f"{script}: no such file; the package must be installed with pip install -e, from a clone")
        grid = [f"model={','.join(models)}", f"seed={','.join(map(str, self.seeds))}"]
        return [sys.executable, str(script), "-m", *grid, *_fixed(entry, file), *self.overrides]


def setting(cells: Sequence[Cell]) -> Setting:
    """What some runs share."""
    return setting_of(cells[0].identity)


def _fixed(entry: Path, file: Path) -> list[str]:
    return ["loss=user/file", f"loss.path={_quote(file)}", f"runs_dir={_quote(entry)}", f"study={STUDY}"]


def _quote(path: Path) -> str:
    """A path as Hydra reads it back, whatever is in it: `${` would begin an interpolation, backslashes before it would be taken away."""
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\${", str(path.absolute()))
    return QuotedString(escaped, Quote.double).with_quotes()


def _seeds(override: Override) -> list[int]:
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [str(override.value())]
    if not all(value.isdecimal() for value in values) or len(set(values)) < len(values):
        raise UserError(f"{override.input_line}: must be one or more different whole numbers, e.g. seed=42,123")
    return [int(value) for value in values]


def _check_open(override: Override) -> None:
    key = override.key_or_group
    if not any(key == name or key.startswith(f"{name}.") for name in OPEN):
        raise UserError(f"{override.input_line}: fixed by the benchmark's rules, or this tool's own; free are seed, {', '.join(OPEN)}")
    if override.is_sweep_override():
        raise UserError(f"{override.input_line}: a trial is of one setting; only seed takes several values")
