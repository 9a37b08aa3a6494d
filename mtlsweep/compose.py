"""From what Hydra composed to a cell: checked settings, the options they were chosen by, and how they differ from those options."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtlsweep.compositions import Composition, Compositions
from mtlsweep.errors import UserError
from mtlsweep.progress import console
from mtlsweep.runs import Cell
from mtlsweep.runs.cell import GROUPS
from mtlsweep.settings import CALLS, check

CONFIG_NAME = "config"

# Composing can take a tenth of a second and more a cell; larger sweeps than this say what they are doing.
SILENT = 50


class Composer:
    """Makes cells; remembers the options it has looked up.

    Args:
        loader: Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._options: dict[tuple[str, str], Any] = {}  # the values in an option's file
        self._compositions: Compositions | None = None
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}

    def sweep_cell(self, sweep_config: DictConfig, overrides: Sequence[str]) -> Cell:
        """The cell of a sweep that these overrides ask for.

        Args:
            sweep_config: the sweep's, the same for all cells of a composer.
            overrides: of this cell.

        Raises:
            UserError, HydraException, OmegaConfBaseException: the overrides do not describe a run.
        """
        composition = self._with_values(sweep_config, overrides)
        if composition is None:  # all of it by Hydra, whose messages say what is wrong
            composition = Composition.apart(self._loader.load_sweep_config(sweep_config, list(overrides)))
        return self._cell(composition)

    def _with_values(self, sweep_config: DictConfig, overrides: Sequence[str]) -> Composition | None:
        """As Hydra composes it, but cells share what is made of their options, which takes most of the time.

        Hydra sets values after it has merged all options, so nothing else is done here; None where there is more than these two.
        """
        parsed = [self._parse(text) for text in overrides]
        if any(override.type is not OverrideType.CHANGE for override in parsed):
            return None
        values = [override for override in parsed if _is_value(override, sweep_config)]
        choices = [override for override in parsed if override not in values]
        if self._compositions is None:
            self._compositions = Compositions(self._loader, sweep_config)
        try:
            composition = self._compositions.of(choices)
            self._learn(self._compositions, composition)
            config = copy.deepcopy(composition.config)
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except (HydraException, OmegaConfBaseException):
            return None
        return replace(composition, config=config, overrides=tuple(overrides))

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_override(text)
        return self._parsed[text]

    def cell(self, config: DictConfig, hydra_node: Any) -> Cell:
        """The cell of a composed configuration.

        Args:
            config: without Hydra's own node.
            hydra_node: that node.

        Raises:
            UserError: a setting is at fault.
        """
        return self._cell(Composition(config, dict(hydra_node.runtime.choices), tuple(hydra_node.overrides.task)))

    def _cell(self, composition: Composition) -> Cell:
        options = _options(composition.choices)
        cell = Cell(check(composition.config), options, {}, composition.overrides)
        return replace(cell, variant=self._variant(composition.config, cell))

    def _variant(self, config: DictConfig, cell: Cell) -> dict[str, Any]:
        self._look_up([(group, cell.options[group]) for group in CALLS])
        variant: dict[str, Any] = {}
        for group in CALLS:
            values = OmegaConf.to_container(config[group], resolve=True)
            assert isinstance(values, dict)
            option = self._options[group, cell.options[group]]
            variant |= {f"{group}.{key!s}": value for key, value in values.items() if key not in option or option[key] != value}
        if cell.source:
            variant["loss.path"] = f"{cell.source.name}@{cell.identity['loss']['source'][:6]}"
        return {key: value for key, value in variant.items() if value != {}}

    def _learn(self, compositions: Compositions, composition: Composition) -> None:
        """What is in an option's file, from a composition in which no other says anything of its group, as the known groups show."""
        options = {group: str(composition.choices.get(group)) for group in GROUPS}
        if all((group, options[group]) in self._options for group in CALLS):
            return
        values, resolved = (
            {(group, options[group]): OmegaConf.to_container(composition.config[group], resolve=resolve) for group in CALLS}
            for resolve in (False, True)
        )
        known = {choice: self._options[choice] for choice in values if choice in self._options}
        if values != resolved or len(known) < len(values) - 1 or not known.items() <= values.items():
            return
        others = {text.partition("=")[0] for text in composition.overrides} - options.keys()  # an experiment may set values, too
        if all(compositions.leaves_alone(f"{group}/{composition.choices.get(group)}", GROUPS) for group in others) and all(
            compositions.is_alone(f"{group}/{option}") for group, option in options.items()
        ):
            self._options |= values

    def _look_up(self, chosen: Sequence[tuple[str, str]]) -> None:
        """Learn what is in the files of these options of groups, those that are not known yet in one composition."""
        unknown = [choice for choice in chosen if choice not in self._options]
        if unknown:
            overrides = [f"{group}={option}" for group, option in unknown]
            config = self._loader.load_configuration(CONFIG_NAME, overrides, RunMode.RUN, validate_sweep_overrides=False)
            self._options |= {(group, option): OmegaConf.to_container(config[group], resolve=True) for group, option in unknown}


def _options(choices: Mapping[str, str | None]) -> dict[str, str]:
    for group in GROUPS:
        if group not in choices:  # taken out with a ~, or a list of options
            raise UserError(f"{group}: a run needs one option of this group, as {group}=NAME (several make a sweep, with -m: {group}=A,B)")
    return {group: str(choices[group]) for group in GROUPS}


def _is_value(override: Override, config: DictConfig) -> bool:
    """Whether it sets a value: groups have no dot in their names, and where one is, the configuration has a mapping or nothing."""
    key = override.key_or_group
    if override.package is not None or "/" in key or key.split(".")[0] == "hydra":
        return False
    return "." in key or (key in config and not OmegaConf.is_config(config[key]))


def compose_sweep(loader: ConfigLoader, sweep_config: DictConfig, job_overrides: Sequence[Sequence[str]]) -> list[Cell]:
    """All cells of a sweep, checked.

    Raises:
        UserError: some of them are at fault; every distinct fault is one line of the message.
    """
    if len(job_overrides) > SILENT:
        console.print(f"composing {len(job_overrides)} cells")
    composer = Composer(loader)
    cells: list[Cell] = []
    faults: dict[str, None] = {}
    for overrides in job_overrides:
        try:
            cell = composer.sweep_cell(sweep_config, overrides)
            _ = cell.directory  # reads a user's file
            cells.append(cell)
        except UserError as error:
            faults[str(error)] = None
    if faults:
        raise UserError("\n".join(faults))
    return cells
