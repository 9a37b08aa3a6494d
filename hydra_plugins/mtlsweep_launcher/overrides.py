"""From the command line to what is searched, and from a trial's values to what would be said to get them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from omegaconf import DictConfig, Node, OmegaConf

from mtlsweep.errors import UserError
from mtlsweep.runs.signature import NEUTRAL

if TYPE_CHECKING:  # loads Optuna
    from optuna.distributions import BaseDistribution


def distribution(override: Override, whole: bool = False) -> "BaseDistribution":
    """The values that a setting can take.

    Args:
        override: of the setting.
        whole: the setting is a whole number. (An interval alone does not tell: Hydra gives its ends as floats.)

    Raises:
        UserError: an interval has none.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if not isinstance(value, IntervalSweep):
            return CategoricalDistribution([str(choice) for choice in override.sweep_iterator(transformer=Transformer.encode)])
        low, high = float(value.start or 0), float(value.end or 0)
        if isinstance(value.start, int) or (whole and low.is_integer() and high.is_integer()):
            return IntDistribution(int(low), int(high), log="log" in value.tags)
        return FloatDistribution(low, high, log="log" in value.tags)
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from error


def is_whole(config: DictConfig, key: str) -> bool:
    """Whether a setting of the configuration is declared to be a whole number."""
    parent, _, name = key.rpartition(".")
    group = OmegaConf.select(config, parent, throw_on_missing=False) if parent else config
    node = group._get_node(name) if isinstance(group, DictConfig) else None
    return isinstance(node, Node) and node._metadata.ref_type is int


def search_name(space: Mapping[str, object], same: Sequence[str]) -> str:
    """Of a search: what is searched, and all else that was said and decides numbers."""
    keys = {line: line.lstrip("+~").partition("=")[0] for line in same}
    return "; ".join([*sorted(space), *sorted(line for line, key in keys.items() if not {key, key.partition(".")[0]} & NEUTRAL)])


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """What is said on a command line for these values."""
    return [f"{name}={value}" for name, value in params.items()]


def in_words(params: Mapping[str, Any]) -> str:
    """These values for people, with as many digits as they need."""
    return ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items())
