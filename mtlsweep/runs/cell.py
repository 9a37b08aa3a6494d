"""A cell of a sweep: one run as it was asked for, and the name of its directory."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mtlsweep.runs.signature import identity, signature, source_file

# The groups a run is composed of; a run is described by the name of the option chosen in each.
GROUPS = ("model", "loss", "curriculum", "schedule", "data", "engine")


@dataclass(frozen=True)
class Cell:
    """One run: its settings, what they were chosen by, and how they differ from the options' own values.

    Attributes:
        settings: checked settings, see `mtlsweep.settings.check`.
        options: the chosen option of each group, e.g. `{"model": "resnet20", ...}`.
        variant: values of model, loss and curriculum that differ from the chosen option's file, by dotted key, e.g. `{"loss.beta": 3.0}`.
        overrides: what was said on the command line, to say it again.
    """

    settings: dict[str, Any]
    options: dict[str, str]
    variant: dict[str, Any]
    overrides: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the run's numbers."""
        return identity(self.settings)

    @cached_property
    def signature(self) -> str:
        """The hash of the identity."""
        return signature(self.identity)

    @property
    def study_dir(self) -> Path:
        """The folder of the study this run belongs to."""
        return Path(self.settings["runs_dir"]).expanduser() / self.settings["study"]

    @property
    def directory(self) -> Path:
        """`<study>/<model>/<loss>/<schedule>/seed<k>-<sig8>`."""
        names = [self.options[group].replace("/", "-") for group in ("model", "loss", "schedule")]
        return self.study_dir.joinpath(*names, f"seed{self.settings['seed']}-{self.signature[:8]}")

    @property
    def source(self) -> Path | None:
        """The user's own strategy file, if the run has one."""
        return source_file(self.settings["loss"]) if self.settings["loss"].get("path") else None

    @property
    def label(self) -> str:
        """What tells this run from others, for people."""
        return label(self.options, self.variant, self.settings["seed"])

    def describe(self) -> dict[str, Any]:
        """What `run.json` says: everything needed to recognise the run, and what was said on the command line to get it."""
        known = asdict(self)
        del known["settings"]
        return known | {
            "study": self.settings["study"],
            "seed": self.settings["seed"],
            "signature": self.signature,
            "identity": self.identity,
        }


def label(options: dict[str, str], variant: dict[str, Any], seed: int) -> str:
    """E.g. `resnet20 haw[beta=3] cifar100 cosine200 seed 42`."""
    return " ".join([model_label(options, variant), loss_label(options, variant), options["data"], options["schedule"], f"seed {seed}"])


def model_label(options: dict[str, str], variant: dict[str, Any]) -> str:
    """The model's option name, and in brackets what was changed in it."""
    return options["model"] + _brackets(_changes(variant, "model"))


def loss_label(options: dict[str, str], variant: dict[str, Any]) -> str:
    """The strategy's option name, and in brackets what was changed in it and the curriculum: `haw[beta=3, curriculum=linear]`."""
    changes = _changes(variant, "loss")
    if options["curriculum"] != "none":
        changes.append(f"curriculum={options['curriculum']}")
    return options["loss"] + _brackets(changes + _changes(variant, "curriculum"))


def _changes(variant: dict[str, Any], group: str) -> list[str]:
    prefix = f"{group}."
    return [f"{key.removeprefix(prefix)}={_short(value)}" for key, value in variant.items() if key.startswith(prefix)]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _brackets(changes: list[str]) -> str:
    return f"[{', '.join(changes)}]" if changes else ""
