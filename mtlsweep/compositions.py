"""What Hydra composes of chosen options, in fewer compositions than there are combinations: each takes a tenth of a second or more."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Makes compositions, and remembers them.

    Args:
        load: composes overrides by Hydra.
    """

    def __init__(self, load: Callable[[list[str]], DictConfig]) -> None:
        self._load = load
        self._known: dict[tuple[str, ...], Composition] = {}
        self._first: dict[tuple[str, ...], tuple[str, ...]] = {}  # of these groups

    def of(self, choices: Sequence[Override]) -> Composition:
        """Of options of groups, one each.

        Raises:
            HydraException, OmegaConfBaseException: there are no such options, or they cannot be merged.
        """
        return self._of(tuple(choice.key_or_group for choice in choices), tuple(str(choice.input_line) for choice in choices))

    def _of(self, groups: tuple[str, ...], choices: tuple[str, ...]) -> Composition:
        if choices not in self._known:
            self._known[choices] = self._put_together(groups, choices) or Composition.apart(self._load(list(choices)))
        return self._known[choices]

    def _put_together(self, groups: tuple[str, ...], choices: tuple[str, ...]) -> Composition | None:
        """Of compositions that differ from the first of these groups in one option, where this changes nothing but its group's node."""
        first = self._first.setdefault(groups, choices)
        changed = [place for place in range(len(groups)) if choices[place] != first[place]]
        if len(changed) < 2 or len(set(groups)) < len(groups):
            return None
        base = self._of(groups, first)
        parts = {groups[place]: self._of(groups, (*first[:place], choices[place], *first[place + 1 :])) for place in changed}
        if any(part.beside(group) != base.beside(group) for group, part in parts.items()):
            return None
        config = copy.deepcopy(base.config)
        with open_dict(config):
            for group, part in parts.items():
                config[group] = part.config[group]
        return Composition(config, base.choices | {group: part.choices[group] for group, part in parts.items()}, choices)
