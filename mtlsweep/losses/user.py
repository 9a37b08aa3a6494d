"""A user's own strategy: the class `MultiTaskLoss` of a Python file, with the benchmark's interface, unchanged."""

import hashlib
import inspect
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from mtlsweep.errors import UserError, summary
from mtlsweep.losses.base import GradientStrategy, GramStrategy, Strategy

CLASS = "MultiTaskLoss"

# What is called, and with what; only `forward` has to be there.
INTERFACE = {
    "forward": ("fine_loss", "coarse_loss", "epoch", "total_epochs"),
    "on_epoch_end": ("mean_losses",),
    "after_step": ("losses",),
}


def load(path: str, params: dict[str, Any] = {}) -> nn.Module:  # noqa: B006 (never changed; the signature tells the default)
    """Build the strategy of a file.

    Args:
        path: a Python file with a class `MultiTaskLoss(nn.Module)`: `__init__(self, num_tasks=2)` and
            `forward(self, fine_loss, coarse_loss, epoch, total_epochs) -> scalar`.
        params: further arguments of its `__init__`.

    Raises:
        UserError: the file cannot be imported, has no such class, or the class cannot be built or called; one line naming the file and
            the fault.
    """
    file = Path(path)
    strategy_class = getattr(_import(file), CLASS, None)
    if not isinstance(strategy_class, type) or not issubclass(strategy_class, nn.Module):
        raise UserError(f"{file.name}: has no class {CLASS}(nn.Module)")
    with _named(file, f"{CLASS}({_arguments(params)}) raised "):
        strategy = strategy_class(**params)
    _check_interface(file, strategy)
    return strategy


def name_of(strategy: nn.Module) -> str:
    """A strategy's file and class, for messages: `my_loss.py: MultiTaskLoss`."""
    return f"{_file(strategy).name}: {type(strategy).__name__}"


@contextmanager
def faults_named(strategy: nn.Module) -> Iterator[None]:
    """Within the block an error that a strategy raises names its file and line.

    An error of the backward pass has no line of the file in its traceback. It is a user's strategy's too (which can change what the graph
    needs, or keep a graph from step to step), unless memory ran out, which has a type of its own.

    Raises:
        UserError: in place of the error; the run's log has both.
    """
    file = _file(strategy)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if _lines(file, error):
            raise UserError(f"{_place(file, error)}: {summary(error)}") from error
        if type(error) is RuntimeError and not isinstance(strategy, Strategy) and _in_autograd(error):
            raise UserError(f"{file.name}: the backward pass raised {summary(error)}") from error
        raise


def _import(file: Path) -> ModuleType:
    with _named(file, "cannot be imported: "):
        content = file.read_bytes()
        # Under a name of its content's, so that what a class of the file needs of its module is found, also by a checkpoint of it.
        name = f"mtlsweep_user_{file.stem}_{hashlib.sha256(content).hexdigest()[:16]}"
        module = sys.modules[name] = ModuleType(name)
        module.__file__ = str(file)
        # Not by importlib, which leaves compiled files beside it: in a run's directory.
        exec(compile(content, file, "exec", dont_inherit=True), vars(module))
    return module


def _check_interface(file: Path, strategy: nn.Module) -> None:
    if "_parameters" not in vars(strategy):
        raise UserError(f"{file.name}: {CLASS}.__init__ does not call super().__init__()")
    if getattr(strategy.forward, "__func__", None) is nn.Module.forward and not isinstance(strategy, Strategy):
        raise UserError(f"{file.name}: {CLASS} has no method forward")
    for kind, method in ((GramStrategy, "weights"), (GradientStrategy, "combine")):
        if isinstance(strategy, kind) and getattr(type(strategy), method) is getattr(kind, method):
            raise UserError(f"{file.name}: {CLASS} has no method {method}")
    for method, arguments in INTERFACE.items():
        try:
            inspect.signature(getattr(strategy, method, lambda *_: None)).bind(*arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"{file.name}: {CLASS}.{method} must take ({', '.join(arguments)}): {error}") from error
    _check_order(file, list(inspect.signature(strategy.forward).parameters))


def _check_order(file: Path, given: Sequence[str]) -> None:
    """Arguments may have any names, but not each other's: they are passed by their places."""
    expected = INTERFACE["forward"]
    if any(name in expected and name != own for name, own in zip(given, expected, strict=False)):
        raise UserError(f"{file.name}: {CLASS}.forward takes ({', '.join(given)}); passed are ({', '.join(expected)}), in this order")


@contextmanager
def _named(file: Path, fault: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: it would end the sweep
        raise UserError(f"{_place(file, error)}: {fault}{summary(error)}") from error


def _file(strategy: nn.Module) -> Path:
    return Path(getattr(sys.modules.get(type(strategy).__module__), "__file__", "?"))


def _place(file: Path, error: BaseException) -> str:
    """The file's name and, where the error has passed through it, the deepest of its lines."""
    lines = _lines(file, error)
    return f"{file.name}, line {lines[-1]}" if lines else file.name


def _lines(file: Path, error: BaseException) -> list[int]:
    return [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)]


def _in_autograd(error: BaseException) -> bool:
    return any(frame.f_globals.get("__name__") == "torch.autograd" for frame, _ in traceback.walk_tb(error.__traceback__))


def _arguments(params: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in params.items())
