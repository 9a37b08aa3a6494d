"""A run's identity: every requested setting that can change its numbers, and the hash of them that names its directory."""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError

# Settings that cannot change a run's numbers: where things are, what is kept, how it is executed.
NEUTRAL = {
    "study", "runs_dir", "save", "rerun", "dry_run", "checkpoint_seconds", "logger",
    "data.root", "data.download", "engine.device", "engine.threads", "engine.graph",
}  # fmt: skip

# Settings that came after runs had been made: dotted key -> the value that means what was done before. At that value the key does not enter
# the signature, so that earlier runs keep theirs.
ADDED_LATER: dict[str, Any] = {
    "loss.heads": "own", "loss.length": "own", "loss.scope": "trunk", "loss.refresh": 1, "engine.compile": False, "engine.triton": None,
    "engine.fused": None,
}  # fmt: skip

# The code of these is covered by the commit that is recorded with a run; that of any other `_target_` enters by its content.
OWN_PACKAGE = "mtlsweep."


def identity(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide a run's numbers, nested as in the configuration.

    A user's own file (`loss.path`, or the module of a `_target_` outside this package) is represented by the SHA-256 of its content.

    Args:
        settings: checked settings, see `mtlsweep.settings.check`.

    Raises:
        UserError: a user's file cannot be read.
    """
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and key not in NEUTRAL:
            kept[key] = {name: item for name, item in value.items() if _counts(f"{key}.{name}", item)}
        elif _counts(key, value):
            kept[key] = value
    for group in kept.values():
        source = source_file(group) if isinstance(group, dict) else None
        if source:
            group.pop("path", None)
            group["source"] = _digest(source)
    return kept


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted keys: `schedule.lr`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def signature(run_identity: dict[str, Any]) -> str:
    """The SHA-256 of an identity, 64 hexadecimal digits; equal for equal settings whatever their order."""
    return hashlib.sha256(json.dumps(run_identity, sort_keys=True).encode()).hexdigest()


def source_file(call: dict[str, Any]) -> Path | None:
    """The user's own file behind a call (`path`, or the module of its `_target_`); None where it is this package's.

    Raises:
        UserError: `path` names no Python file.
    """
    if call.get("path"):
        path = Path(call["path"]).expanduser()
        if not path.is_file():
            raise UserError(f"{call['path']}: no such file")
        if path.suffix != ".py":
            raise UserError(f"{call['path']}: is not a Python file (its name must end in .py)")
        return path
    target = str(call.get("_target_", OWN_PACKAGE))
    if target.startswith(OWN_PACKAGE):
        return None
    module = target
    while "." in module:  # a class's method, too
        module = module.rpartition(".")[0]
        with suppress(ModuleNotFoundError):  # of a parent that is no package, but a module or a class
            if spec := importlib.util.find_spec(module):
                return Path(spec.origin) if spec.origin else None
    return None


def _counts(key: str, value: Any) -> bool:
    return key not in NEUTRAL and not (key in ADDED_LATER and ADDED_LATER[key] == value)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
