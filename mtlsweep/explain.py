"""Hydra's and OmegaConf's errors as one line with the valid choices."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.errors import InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtlsweep.errors import UserError

_OPTION = re.compile(
    r"Could not find '(?:hydra/config/)?([^']+)'\s+Available options in '([^']+)':\s+(.*?)\s+(?:Config search path|$)", re.S
)
_OVERRIDE = re.compile(r"Could not override '([^']+)'|Error merging override (\S+)")


# Mappings that take keys of the user's own, and what these are.
_OPEN = {
    "loss.params": "a parameter of a strategy of your own",
    "hydra.launcher.sbatch": "an option of sbatch",
    "hydra.launcher.environment": "a variable of the jobs' environment",
}


def explain(error: BaseException) -> str:
    """What is wrong and what would be right. (A `UserError` says it already, one line for each fault.)"""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError | TypeError):  # of a launcher or a sweeper
        return str(error.__cause__)
    if isinstance(error, OverrideParseException):
        return _explain_grammar(error.override)
    text = str(error).strip()
    option = _OPTION.search(text)
    if option:
        path, group, options = option.groups()
        name = path.rpartition("/")[2]
        file = path.removeprefix("loss/")
        if file != path and file.endswith(".py"):  # a strategy of one's own
            return f"loss={file}: no such option; a file is given as loss=user/file loss.path={file}"
        return f"{group}={name}: no such option{_perhaps(get_close_matches(name, options.split()))}; choose from {_join(options.split())}"
    if "does not have a `_target_` field" in text:
        return "a launcher's or a sweeper's file has no _target_: its defaults list must name one that has, as `- slurm`"
    if "does not support sweep type" in text:
        return "interval(...) is searched, not swept over: it needs hydra/sweeper=optuna"
    override = _OVERRIDE.search(text)
    if override:
        return _explain_override(override.group(1) or override.group(2), error)
    if type(error).__module__.startswith("mtlsweep"):
        return text
    return "; ".join(
        line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("full_key", "object_type"))
    )


def _explain_grammar(override: str) -> str:
    name, equals, value = override.partition("=")
    if not equals:
        return f"{override}: is no setting; one is given as KEY=VALUE"
    value = value.strip("'\"")
    twice = f"'{name}=\"{value}\"'"
    return f"{override}: cannot be read; a value with other signs than letters of English, digits and -_./ has two pairs of quotes: {twice}"


def _explain_override(override: str, error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    reason = str(cause or error).splitlines()[0]
    if not isinstance(cause, OmegaConfBaseException) or "not in" not in reason:
        return f"{override}: {reason}"
    parent, dot, name = override.rpartition(".")
    node = cause.parent_node
    if parent in _OPEN:
        return f"{override}: no such key; {_OPEN[parent]} is added with a +: +{override}=..."
    if override in _OPEN:
        return f"{override}: {_OPEN[override]} is added by itself and with a +: +{override}.NAME=..."
    keys = sorted(str(key) for key in node if not str(key).startswith("_")) if isinstance(node, DictConfig) else []
    ours = isinstance(node, DictConfig) and parent and not parent.startswith("hydra.")
    owner = node.get("_target_", parent) if ours else parent  # of a sweep's options, which one
    where = f"{owner} has {_join(keys)}" if parent else f"choose from {_join(key for key in keys if key != 'hydra')}"
    near = [f"{parent}{dot}{key}" for key in get_close_matches(name, keys)]
    meant = near or [key for key in _settings(node._get_root()) if key.rpartition(".")[2] == name]
    return f"{override}: no such key{_perhaps(meant)}; {where if keys else f'{owner} has none'}"


def _settings(config: Any) -> Iterator[str]:
    """The dotted keys of a configuration's groups, and of what a sweep is launched with."""
    groups = [str(key) for key in config if key != "hydra"] + ["hydra.launcher", "hydra.sweeper"]
    for group in groups:
        node = OmegaConf.select(config, group, throw_on_missing=False)
        yield from (f"{group}.{key!s}" for key in node) if isinstance(node, DictConfig) else ()


def _perhaps(words: Sequence[str]) -> str:
    return f" ({_join(words)}?)" if words else ""


def _join(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
