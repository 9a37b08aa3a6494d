"""What Hydra composes of chosen options, in fewer compositions than there are combinations: each takes a tenth of a second or more."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass(frozen=True)
class Composition:
    """A configuration without Hydra's own node, which is the larger part and takes long to copy.

    Attributes:
        config: of a run.
        choices: the chosen option of every group, Hydra's own among them.
        overrides: what was said to get it.
    """

    config: DictConfig
    choices: dict[str, str | None]
    overrides: tuple[str, ...]

    @staticmethod
    def apart(config: DictConfig) -> "Composition":
        """From a configuration, which loses Hydra's node."""
        choices, overrides = dict(config.hydra.runtime.choices), tuple(config.hydra.overrides.task)
        with open_dict(config):
            del config["hydra"]
        return Composition(config, choices, overrides)

    def beside(self, group: str) -> tuple[Any, Any]:
        """All but a group's node and option."""
        config, choices = OmegaConf.to_container(self.config, resolve=False), dict(self.choices)
        assert isinstance(config, dict)
        config.pop(group, None)
        choices.pop(group, None)
        return config, choices


class Compositions:
    """Makes the compositions of a sweep, and remembers them.

    Args:
        loader: Hydra's.
        sweep_config: the sweep's.
    """

    def __init__(self, loader: ConfigLoader, sweep_config: DictConfig) -> None:
        self._loader = loader
        self._sweep_config = sweep_config
        self._known: dict[tuple[str, ...], Composition] = {}
        self._first: dict[tuple[str, ...], tuple[Override, ...]] = {}  # of these groups
        self._alone: dict[str, bool] = {}

    def of(self, choices: Sequence[Override]) -> Composition:
        """Of options of groups, as Hydra composes it.

        Raises:
            HydraException, OmegaConfBaseException: there are no such options, or they cannot be merged.
        """
        texts = tuple(str(choice.input_line) for choice in choices)
        if texts not in self._known:
            whole = self._put_together(tuple(choices)) or Composition.apart(self._loader.load_sweep_config(self._sweep_config, list(texts)))
            self._known[texts] = replace(whole, overrides=texts)
        return self._known[texts]

    def _put_together(self, choices: tuple[Override, ...]) -> Composition | None:
        """From the first composition of these groups and those that differ from it in one option, where nothing depends on two of these."""
        groups = tuple(choice.key_or_group for choice in choices)
        first = self._first.setdefault(groups, choices)
        changed = [place for place, pair in enumerate(zip(choices, first, strict=True)) if pair[0].input_line != pair[1].input_line]
        if len(changed) < 2 or len(set(groups)) < len(groups):
            return None
        both = [some[place] for some in (first, choices) for place in changed]
        if not all(choice.package is None and self.is_alone(f"{choice.key_or_group}/{choice.value()}") for choice in both):
            return None
        base = self.of(first)
        parts = {groups[place]: self.of([*first[:place], choices[place], *first[place + 1 :]]) for place in changed}
        if any(part.beside(group) != base.beside(group) for group, part in parts.items()):  # an option that the main file makes of others
            return None
        config = copy.deepcopy(base.config)
        with open_dict(config):
            for group, part in parts.items():
                config[group] = part.config[group]
        return replace(base, config=config, choices=base.choices | {group: part.choices[group] for group, part in parts.items()})

    def is_alone(self, path: str) -> bool:
        """Whether an option's file, by its path in the configuration, says nothing of other groups than its own."""
        if path not in self._alone:
            self._alone[path] = self._asks_for_nothing_else(path)
        return self._alone[path]

    def leaves_alone(self, path: str, groups: Iterable[str]) -> bool:
        """Whether an option's file whose keys are the whole configuration's, as an experiment's, says nothing of these groups."""
        package, config = self._file(path)
        return config is not None and package == "_global_" and not {"defaults", *groups} & {str(key) for key in config}

    def _file(self, path: str) -> tuple[str | None, DictConfig | None]:
        """Its package and what it says; nothing where it is no file, or no mapping."""
        source = next((source for source in self._loader.get_sources() if source.is_config(path)), None)
        if source is None:
            return None, None
        file = source.load_config(path)
        return file.header["package"], file.config if isinstance(file.config, DictConfig) else None

    def _asks_for_nothing_else(self, path: str) -> bool:
        package, config = self._file(path)
        if config is None or package is not None:
            return False
        here, suffix = path.rpartition("/")[0], "@_here_"
        entries = [str(entry) for entry in config.get("defaults", [])]
        parts = [f"{here}/{entry.removesuffix(suffix)}" for entry in entries if entry.endswith(suffix)]
        return len(parts) == len(entries) - entries.count("_self_") and all(self.is_alone(part) for part in parts)
