"""From a composed configuration to checked, plain settings.

Checking happens before anything trains, for every cell of a sweep: types, unknown keys and ranges, each fault one line.
"""

import functools
import inspect
import logging
import math
from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from typing import Any, get_type_hints

import hydra
from omegaconf import MISSING as OMEGACONF_MISSING
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtlsweep.config import DataConfig, EngineConfig, RunConfig, ScheduleConfig
from mtlsweep.errors import UserError

Settings = dict[str, Any]

# The groups whose option is a call (`_target_` and its arguments) and decides a run's numbers.
CALLS = ("model", "loss", "curriculum")


def check(config: DictConfig) -> Settings:
    """The configuration of one run as plain values, every one of its declared type and in its range.

    Args:
        config: what Hydra composed, without its own `hydra` node.

    Raises:
        UserError: a value is missing, of a wrong type, unknown or out of range; one line, naming the key.
    """
    _check_keys(config, RunConfig)
    for group, schema in (("schedule", ScheduleConfig), ("data", DataConfig), ("engine", EngineConfig)):
        _check_keys(config[group], schema, f"{group}.")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} is not set: add {missing[0]}=... to the command")
    try:
        plain = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from error
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items()}
    for group in (*CALLS, "logger"):
        settings[group] = check_call(settings[group], group)
    _check_finite(settings)
    _check_ranges(settings)
    return settings


def _check_keys(node: DictConfig, schema: type, prefix: str = "") -> None:
    known, given = {field.name for field in fields(schema)}, set(map(str, node))
    unknown = sorted(given - known)  # added with a +, which no schema stops
    if unknown:
        raise UserError(f"{prefix}{unknown[0]}: no such key; choose from {', '.join(sorted(known))}")
    removed = sorted(known - given)  # with a ~
    if removed:
        raise UserError(f"{prefix}{removed[0]}: a run needs it, and the command takes it out")


def _check_finite(node: Settings, prefix: str = "") -> None:
    for key, value in node.items():
        if isinstance(value, dict):
            _check_finite(value, f"{prefix}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{prefix}{key}={value}: must be a finite number")


def check_call(node: Any, where: str) -> Settings:
    """A call's arguments, converted to the types of its signature; defaults of arguments that are not given are filled in.

    Args:
        node: a mapping with `_target_`, the dotted name of a class or function, and its arguments.
        where: the node's key, for messages.

    Raises:
        UserError: nothing is found at `_target_`, or the arguments do not fit its signature.
    """
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{where}: needs a _target_, the dotted name of what to build")
    target = node["_target_"]
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    # It would print three lines about what cannot be imported, before the error that says it.
    logging.getLogger(hydra.utils.__name__).disabled = True
    try:
        callee = hydra.utils.get_object(target)
    except Exception as error:  # whatever a module raises while it is imported
        cause = error.__cause__ or error
        raise UserError(f"{where}._target_={target}: cannot be imported ({type(cause).__name__}: {cause})") from error
    try:
        schema = OmegaConf.structured(_signature_dataclass(callee))
    except (TypeError, ValueError, NameError) as error:  # built-in functions have no signature
        raise UserError(f"{where}._target_={target}: cannot be called with named arguments ({first_line(error)})") from error
    unknown = sorted(set(arguments) - set(schema))
    if unknown:
        raise UserError(f"{where}.{unknown[0]}: no such key; {target} has {', '.join(sorted(schema)) or 'none'}")
    for key, value in arguments.items():
        try:
            schema[key] = value
        except OmegaConfBaseException as error:
            raise UserError(f"{where}.{key}={value}: {first_line(error)}") from error
    # Not missing_keys, which looks up what it takes for an interpolation: a path may have ${x} in it.
    absent = sorted(key for key in schema if OmegaConf.is_missing(schema, key))
    if absent:
        raise UserError(f"{where}.{absent[0]} is not set: add {where}.{absent[0]}=... to the command")
    return {"_target_": target, **OmegaConf.to_container(schema)}  # type: ignore[dict-item]


def build(node: Settings) -> Any:
    """Call a checked call.

    Raises:
        UserError: the callee refused an argument's value.
    """
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    try:
        return hydra.utils.get_object(node["_target_"])(**arguments)
    except ValueError as error:
        raise UserError(f"{node['_target_']}: {error}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the rest repeats where in the code it arose."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# What OmegaConf can convert to and check; an argument of any other type is passed on as it is.
_CHECKED = (bool, int, float, str, dict[str, Any], bool | None, int | None, float | None, str | None)


@functools.cache
def _signature_dataclass(callee: Any) -> type:
    arguments: dict[str, tuple[str, Any, Any]] = {}
    for function in _takers(callee):
        hints = get_type_hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            hint = hints.get(name) if hints.get(name) in _CHECKED else Any
            arguments.setdefault(name, (name, hint, _default(parameter.default)))
    return make_dataclass(callee.__name__, arguments.values(), kw_only=True)


def _takers(callee: Any) -> Iterator[Any]:
    """The functions whose arguments a call takes: of a class, its constructor and, while one passes `**options` on, those it extends."""
    if not inspect.isclass(callee):
        inspect.signature(callee)  # raises for those that have none
        yield callee
        return
    for parent in inspect.getmro(callee):
        constructor = vars(parent).get("__init__")
        if constructor:
            yield constructor
            kinds = [parameter.kind for parameter in inspect.signature(constructor).parameters.values()]
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                return


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return field(default=OMEGACONF_MISSING)
    return field(default_factory=value.copy) if isinstance(value, dict | list) else field(default=value)


# Where threads cannot be started the process ends without a word. The run may be another machine's: this one's processors are no bound.
MOST_THREADS = 1024


def _check_ranges(settings: Settings) -> None:
    schedule, data, engine = settings["schedule"], settings["data"], settings["engine"]
    _check_seed(settings, "seed")
    _at_least(settings, "checkpoint_seconds", 0)
    for key in ("epochs", "batch_size"):
        _at_least(schedule, key, 1, "schedule.")
    for key in ("lr", "momentum", "weight_decay"):
        _at_least(schedule, key, 0, "schedule.")
    _check_seed(data, "seed", "data.")
    for key in ("train_size", "test_size"):
        if data[key] is not None:
            _at_least(data, key, 1, "data.")
    _at_least(data, "validation", 0, "data.")
    if engine["threads"] is not None:
        _at_least(engine, "threads", 1, "engine.")
        if engine["threads"] > MOST_THREADS:
            raise UserError(f"engine.threads={engine['threads']}: must be at most {MOST_THREADS}, the processors of the largest machines")
    _check_name(settings["study"])
    if not settings["runs_dir"].strip():
        raise UserError("runs_dir=: must name a folder")
    _check_sizes(schedule, data)


def _at_least(group: Settings, key: str, bound: float, prefix: str = "") -> None:
    if group[key] < bound:
        raise UserError(f"{prefix}{key}={group[key]}: must be at least {bound}")


def _check_seed(group: Settings, key: str, prefix: str = "") -> None:
    _at_least(group, key, 0, prefix)
    if group[key] >= 2**63:  # what a column of whole numbers holds
        raise UserError(f"{prefix}{key}={group[key]}: must be below 2**63")


def _check_name(study: str) -> None:
    if not study or study[0] in ".-" or any(character in study for character in "/\\%\n\t "):
        raise UserError(f"study={study}: must be a plain folder name, without slashes, spaces and % and not beginning with a dot or a dash")


# Images of each data set's splits; what is asked for must fit before anything is loaded.
SIZES = {"cifar100": {"train": 50_000, "test": 10_000}, "synthetic": {"train": 50_000, "test": 10_000}}


def train_images(data: Settings) -> int:
    """Images that an epoch trains on, by the group `data` of a run's settings."""
    return (data["train_size"] or SIZES[data["name"]]["train"]) - data["validation"]


def _check_sizes(schedule: Settings, data: Settings) -> None:
    if data["name"] not in SIZES:
        raise UserError(f"data.name={data['name']}: must be one of {', '.join(SIZES)}")
    for split, available in SIZES[data["name"]].items():
        if (data[f"{split}_size"] or 0) > available:
            raise UserError(f"data.{split}_size={data[f'{split}_size']}: {data['name']} has {available}")
    if train_images(data) <= 0:
        raise UserError(f"data.validation={data['validation']}: leaves none of {train_images(data) + data['validation']} training images")
    if schedule["batch_size"] > train_images(data):
        raise UserError(f"schedule.batch_size={schedule['batch_size']}: larger than the {train_images(data)} training images")
