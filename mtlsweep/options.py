"""Options of a launcher or a sweeper, from what Hydra hands over to a dataclass."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtlsweep.errors import UserError

Options = TypeVar("Options")


def typed(kind: type[Options], values: Mapping[str, Any], where: str) -> Options:
    """The options of a dataclass, each of the type that its field has.

    Args:
        kind: the dataclass.
        values: by the names of its fields; the others keep their defaults.
        where: they are given, e.g. `hydra.launcher`.

    Raises:
        UserError: one is of another type, or there is none of its name; one line for each.
    """
    schema = OmegaConf.structured(kind)
    known = sorted(option.name for option in fields(kind))  # type: ignore[arg-type]
    faults = []
    for key, value in values.items():
        if key not in known:
            faults.append(f"{where}.{key}: no such key; choose from {', '.join(known)}")
            continue
        try:
            schema[key] = value
        except OmegaConfBaseException as error:
            faults.append(f"{where}.{key}={value}: {str(error).splitlines()[0]}")
    if faults:
        raise UserError("\n".join(faults))
    options = OmegaConf.to_object(schema)
    assert isinstance(options, kind)
    return options
