"""A user's own strategy: the class `MultiTaskLoss` of a Python file, with the benchmark's interface, unchanged."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from mtlsweep.errors import UserError

CLASS = "MultiTaskLoss"


def load(path: str, params: dict[str, Any] = {}) -> nn.Module:  # noqa: B006 (never changed; the signature tells the default)
    """Build the strategy of a file.

    Args:
        path: a Python file with a class `MultiTaskLoss(nn.Module)`: `__init__(self, num_tasks=2)` and
            `forward(self, fine_loss, coarse_loss, epoch, total_epochs) -> scalar`.
        params: further arguments of its `__init__`.

    Raises:
        UserError: the file cannot be imported, has no such class, or the class cannot be built; one line naming the file and the fault.
    """
    strategy_class = getattr(_import(Path(path)), CLASS, None)
    if not isinstance(strategy_class, type) or not issubclass(strategy_class, nn.Module):
        raise UserError(f"{path}: has no class {CLASS}(nn.Module)")
    try:
        return strategy_class(**params)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {CLASS}({_arguments(params)}) raised {_describe(error)}") from error


def _import(path: Path) -> ModuleType:
    # Under a name of its content's, so that what a class of the file needs of its module is found, also by a checkpoint of it.
    name = f"mtlsweep_user_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: is not a Python file (its name must end in .py)")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: cannot be imported: {_describe(error)}") from error
    return module


def _arguments(params: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in params.items())


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
