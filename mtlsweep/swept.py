"""Values beside a choice that is swept: `-m loss=pcgrad,cagrad loss.heads=weighted`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

MULTIRUN = ("-m", "--multirun")
EXPERIMENTS = Path(__file__).resolve().parents[1] / "conf" / "experiment"


def with_values_swept(arguments: Sequence[str]) -> list[str]:
    """A command line in which such a value is a sweep over one: `loss.heads=choice(weighted)`.

    Hydra sets other values in the configuration that a sweep begins from, whose `loss` is the default and may not have the key. What is
    swept it leaves to each cell, be it swept on the command line or by an experiment's file.
    """
    if not any(word in MULTIRUN or word.startswith("experiment=") for word in arguments):
        return list(arguments)  # a single run's start need not wait for its words to be parsed
    parsed = {word: override for word in arguments if (override := _parse(word))}
    experiments = list(_experiments(parsed.values()))
    is_sweep = any(OmegaConf.select(experiment, "hydra.mode") == "MULTIRUN" for experiment in experiments)
    if not is_sweep and not any(word in MULTIRUN for word in arguments):
        return list(arguments)
    swept = {override.key_or_group for override in parsed.values() if override.is_sweep_override()}
    swept |= {str(key) for experiment in experiments for key in OmegaConf.select(experiment, "hydra.sweeper.params") or ()}
    return [_as_sweep(word, parsed[word], swept) if word in parsed else word for word in arguments]


def sweeps_experiments(arguments: Sequence[str]) -> bool:
    """Whether a sweep goes over experiments, of which it then takes the settings, and not the sweeps that they name."""
    return any(override.key_or_group == "experiment" and override.is_sweep_override() for word in arguments if (override := _parse(word)))


def _experiments(overrides: Iterable[Override]) -> Iterator[DictConfig]:
    """What this project's files of the experiments asked for say; what is wrong with one of them, Hydra says."""
    for override in overrides:
        file = EXPERIMENTS / f"{override.value()}.yaml"
        if override.key_or_group == "experiment" and not override.is_sweep_override() and file.is_file():
            with suppress(YAMLError, OmegaConfBaseException):
                config = OmegaConf.load(file)
                if isinstance(config, DictConfig):
                    yield config


def _as_sweep(word: str, override: Override, swept: set[str]) -> str:
    group, dot, _ = override.key_or_group.partition(".")
    if not dot or group not in swept or override.is_sweep_override() or override.type is not OverrideType.CHANGE:
        return word
    key, _, value = word.partition("=")
    changed = f"{key}=choice({value})"
    return changed if _parse(changed) else word


def _parse(word: str) -> Override | None:
    """None: no override; if it is to be one, Hydra says what is wrong with it."""
    try:
        return None if word.startswith("-") else OverridesParser.create().parse_override(word)
    except HydraException:
        return None
