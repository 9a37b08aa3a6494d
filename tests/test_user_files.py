"""A user's own strategy file: what is written to the benchmark's interface runs unchanged, and a fault of it costs its own cell."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, CommandLine, Ended, finish, start
from torch import nn

from mtlsweep.errors import UserError
from mtlsweep.losses import user
from mtlsweep.losses.atwhc import ATWHC
from mtlsweep.losses.haw import HAW
from mtlsweep.losses.haw_reg import HAWReg
from mtlsweep.models import TwoHeads
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment

UNCERTAINTY = """
import torch
from torch import nn

class MultiTaskLoss(nn.Module):
    def __init__(self, num_tasks=2):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        fade = (1.0 - epoch / total_epochs) ** 2
        fine = torch.exp(-self.log_vars[0]) * fine_loss + self.log_vars[0]
        coarse = fade * torch.exp(-self.log_vars[1]) * coarse_loss + self.log_vars[1]
        return fine + coarse
"""
SOFTMAX = """
import torch
import torch.nn.functional as F
from torch import nn

class MultiTaskLoss(nn.Module):
    def __init__(self, num_tasks=2):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(num_tasks))
        self.tau = 0.5

    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        weights = F.softmax(self.w / self.tau, dim=-1)
        losses = torch.stack([fine_loss, (1.0 - epoch / total_epochs) ** 2 * coarse_loss])
        return (weights * losses).sum()
"""
# Entries as their authors would have written them, by the option that is the same strategy.
PASTED = {
    "haw": UNCERTAINTY,
    "haw_reg": UNCERTAINTY.replace("return fine + coarse", "return fine + coarse + 0.01 * torch.sum(self.log_vars ** 2)"),
    "atwhc": SOFTMAX,
}
BUILT_IN = {"haw": HAW, "haw_reg": HAWReg, "atwhc": ATWHC}


def write(directory: Path, content: str, name: str = "my_loss.py") -> str:
    (directory / name).write_text(content)
    return str(directory / name)


def written(body: str, init: str = "pass", arguments: str = "self, fine_loss, coarse_loss, epoch, total_epochs") -> str:
    """A file whose `forward` has this body; the body's first line is line 11."""
    forward = "\n".join(f"        {line}" for line in body.splitlines())
    return f"""import torch
from torch import nn


class MultiTaskLoss(nn.Module):
    def __init__(self, num_tasks=2):
        super().__init__()
        {init}

    def forward({arguments}):
{forward}
"""


# -- pasted from the benchmark ---------------------------------------------------------------------------------------------------------


def losses_of_ten_steps(strategy: nn.Module) -> list[float]:
    """What a small network's steps report, in double precision: the strategy is the only thing that two calls differ in."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = TwoHeads(trunk, features=4, num_fine=6, num_coarse=3)
    parameters = [*model.parameters(), *strategy.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)
    program = step_program(Network(model), strategy)
    seen = []
    for epoch in range(10):
        images = torch.randn(8, 3, 8, 8, generator=generator)
        fine, coarse = (torch.randint(0, classes, (8,), generator=generator) for classes in (6, 3))
        optimizer.zero_grad()
        outcome = program(Batch(images, fine, coarse), Moment(epoch, 10, 1.0))
        optimizer.step()
        seen += [value.item() for value in (outcome.minimised, outcome.fine_loss, outcome.coarse_loss)]
    return seen


@pytest.fixture
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("option", PASTED)
def test_pasted_class_gives_the_losses_of_the_built_in_one_step_by_step(option: str, tmp_path: Path) -> None:
    pasted = losses_of_ten_steps(user.load(write(tmp_path, PASTED[option])))
    assert pasted == pytest.approx(losses_of_ten_steps(BUILT_IN[option]()), rel=1e-10)
    others = [name for name in PASTED if name != option]
    assert all(pasted != pytest.approx(losses_of_ten_steps(BUILT_IN[other]()), rel=1e-6) for other in others)


def metrics(directory: Path, study: str, loss: str) -> list[list[float]]:
    (path,) = directory.glob(f"runs/{study}/resnet20/{loss}/smoke/*/metrics.csv")
    columns = ("train_loss", "fine_loss", "coarse_loss", "fine_weight", "coarse_weight")
    with path.open() as file:
        return [[float(row[name]) for name in columns] for row in csv.DictReader(file)]


# With one step an epoch the rows of metrics.csv are its steps.
@pytest.mark.parametrize("schedule", [[], ["schedule.batch_size=100", "schedule.epochs=10"]], ids=["by epoch", "by step"])
@pytest.mark.parametrize("option", PASTED)
def test_pasted_class_trains_as_the_built_in_one(option: str, schedule: list[str], cli: CommandLine, tmp_path: Path) -> None:
    write(tmp_path, PASTED[option])
    for loss in ([f"loss={option}"], ["loss=user/file", "loss.path=my_loss.py"]):
        assert cli(*TINY, *schedule, *loss, "study=s").status == 0
    pasted, built_in = metrics(tmp_path, "s", "user-file"), metrics(tmp_path, "s", option)
    assert len(pasted) == (10 if schedule else 3)
    for theirs, ours in zip(pasted, built_in, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)  # roundings differ, and training makes them grow


def test_class_takes_parameters(tmp_path: Path) -> None:
    assert next(user.load(write(tmp_path, UNCERTAINTY), {"num_tasks": 3}).parameters()).shape == (3,)


def test_what_a_class_does_to_the_losses_it_is_given_does_not_change_what_is_recorded(cli: CommandLine, tmp_path: Path) -> None:
    doubled = {"in_place.py": "fine_loss.mul_(2)\ncoarse_loss.mul_(2)\nreturn fine_loss + coarse_loss"}
    doubled["apart.py"] = "return 2 * fine_loss + 2 * coarse_loss"
    for name, body in doubled.items():
        write(tmp_path, written(body), name)
        assert cli(*TINY, "loss=user/file", f"loss.path={name}", f"study={name}").status == 0
    in_place, apart = (metrics(tmp_path, name, "user-file") for name in doubled)
    assert in_place == apart
    assert {tuple(row[3:]) for row in in_place} == {(2.0, 2.0)}


# -- faults ----------------------------------------------------------------------------------------------------------------------------

# What is wrong with a file: its content, and what is said of it.
FAULTS = {
    "empty": ("", ": has no class MultiTaskLoss(nn.Module)"),
    "another_class": ("class MultiTaskLoss: pass", ": has no class MultiTaskLoss(nn.Module)"),
    "syntax": ("def f(:", ": cannot be imported: SyntaxError: invalid syntax"),
    "imports": (
        "\nimport nothing_of_this_name",
        ", line 2: cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'",
    ),
    "recursion": ("def f():\n    f()\nf()", ", line 2: cannot be imported: RecursionError: maximum recursion depth exceeded"),
    "exits": ("raise SystemExit(3)", ", line 1: cannot be imported: SystemExit: 3"),
    "init": (written("pass", "raise KeyError('oh')"), ", line 8: MultiTaskLoss() raised KeyError: 'oh'"),
    "init_exits": (written("pass", "raise BaseException"), ", line 8: MultiTaskLoss() raised BaseException"),
    "init_takes": (
        written("pass").replace("num_tasks=2", "num_tasks"),
        ": MultiTaskLoss() raised TypeError: MultiTaskLoss.__init__() missing 1 required positional argument: 'num_tasks'",
    ),
    "no_super": (written("pass").replace("super().__init__()", "pass"), ": MultiTaskLoss.__init__ does not call super().__init__()"),
    "no_forward": (written("pass").replace("forward", "loss"), ": MultiTaskLoss has no method forward"),
    "forward_takes": (
        written("return fine_loss", arguments="self, fine_loss, coarse_loss"),
        ": MultiTaskLoss.forward must take (fine_loss, coarse_loss, epoch, total_epochs): too many positional arguments",
    ),
    "other_order": (
        written("return fine_loss", arguments="self, coarse_loss, fine_loss, epoch, total_epochs"),
        ": MultiTaskLoss.forward takes (coarse_loss, fine_loss, epoch, total_epochs); passed are (fine_loss, coarse_loss, ",
    ),
    "epoch_end_takes": (
        written("return fine_loss") + "\n    def on_epoch_end(self):\n        pass\n",
        ": MultiTaskLoss.on_epoch_end must take (mean_losses): too many positional arguments",
    ),
    "raises": (written("\nraise RuntimeError('out of\\nideas')"), ", line 12: RuntimeError: out of"),
    "raises_late": (written("if epoch == 1:\n    raise ValueError\nreturn fine_loss"), ", line 12: ValueError"),
    "raises_below": (written("return torch.stack(fine_loss)"), ", line 11: TypeError: stack(): "),
    "forward_exits": (written("raise SystemExit"), ", line 11: SystemExit"),
    "epoch_end_raises": (
        written("return fine_loss") + "\n    def on_epoch_end(self, mean_losses):\n        raise RuntimeError('oh')\n",
        ", line 14: RuntimeError: oh",
    ),
    "vector": (
        written("return torch.stack([fine_loss, coarse_loss])"),
        ": MultiTaskLoss.forward returned a tensor of shape (2,): it must return a scalar tensor",
    ),
    "float": (written("return fine_loss.item()"), ": MultiTaskLoss.forward returned a float: it must return a scalar tensor"),
    "nothing": (written("fine_loss + coarse_loss"), ": MultiTaskLoss.forward returned a NoneType: it must return a scalar tensor"),
    "pair": (written("return fine_loss, {}"), ": MultiTaskLoss.forward returned a tuple: it must return a scalar tensor"),
    "detached": (
        written("return fine_loss.detach()"),
        ": MultiTaskLoss.forward returned a tensor without a gradient: it must be computed from the losses, not from their values",
    ),
    "elsewhere": (
        written("return fine_loss.to('meta')"),
        ": MultiTaskLoss.forward returned a tensor on meta: it must stay where the losses are, on cpu",
    ),
    "nan": (
        written("return fine_loss * float('nan')"),
        ": MultiTaskLoss gave nan (derivatives nan and 0) for the losses of the first step, ",
    ),
    "inf": (
        written("return torch.exp(1000 * fine_loss)"),
        ": MultiTaskLoss gave inf (derivatives inf and 0) for the losses of the first step, ",
    ),
    "nan_derivative": (
        written("return fine_loss + torch.sqrt(0 * coarse_loss)"),
        " (derivatives 1 and nan) for the losses of the first step, ",
    ),
    "complex": (written("return fine_loss * 1j"), ": the backward pass raised RuntimeError: grad can be implicitly created only for real"),
    "changes_the_graph": (
        written("square = torch.exp(fine_loss)\nloss = square * square\nsquare.add_(1)\nreturn loss"),
        ": the backward pass raised RuntimeError: one of the variables needed for gradient computation has been modified by an inplace",
    ),
    "keeps_the_graph": (
        written("self.mean = 0.9 * self.mean + 0.1 * fine_loss\nreturn self.mean * coarse_loss", init="self.mean = 0.0"),
        ": the backward pass raised RuntimeError: Trying to backward through the graph a second time",
    ),
}
SOUND = {
    "sum": written("return fine_loss + coarse_loss"),
    "double": written("return (fine_loss + coarse_loss).double()"),
    "half": written("return (fine_loss + coarse_loss).half()"),
    "of_shape_one": written("return (fine_loss + coarse_loss).view(1)"),
    "other_names": written("return a + b", arguments="self, a, b, t, of"),
    "coarse_only": written("return coarse_loss"),
    "own_forward": written("pass", "self.forward = lambda fine_loss, *rest: fine_loss").replace("def forward", "def other"),
}
DIVERGES = written("return fine_loss * (float('nan') if epoch == 1 else 1.0)")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """One sweep over all of them, sound files before, between and after the others, and where it was made."""
    directory = tmp_path_factory.mktemp("sweep")
    contents = {"sum": SOUND["sum"]} | {name: content for name, (content, _) in FAULTS.items()} | {"diverges": DIVERGES} | SOUND
    for name, content in contents.items():
        write(directory, content, f"{name}.py")
    paths = ",".join(f"{name}.py" for name in contents)
    return directory, finish(start(["-m", *TINY, "loss=user/file", f"loss.path={paths}"], directory))


def run_of(name: str, directory: Path) -> Path:
    (copy,) = directory.glob(f"runs/*/*/*/*/*/{name}.py")
    return copy.parent


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_sweep_goes_on_after_every_faulty_file(sweep: tuple[Path, Ended]) -> None:
    _, ended = sweep
    assert ended.status == 1
    assert f": {len(SOUND)} completed, {len(FAULTS)} failed, 1 diverged" in ended.out
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize("name", SOUND)
def test_sound_file_beside_faulty_ones_is_completed(name: str, sweep: tuple[Path, Ended]) -> None:
    assert read(run_of(name, sweep[0]) / "result.json")["status"] == "completed"


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_line_that_names_the_file(name: str, sweep: tuple[Path, Ended]) -> None:
    directory, ended = sweep
    (line,) = (line for line in ended.out.splitlines() if line.startswith(f"failed: {name}.py"))
    assert FAULTS[name][1] in line
    run = run_of(name, directory)
    assert line.endswith(f"(traceback in {(run / 'run.log').relative_to(directory)})")
    assert "Traceback (most recent call last)" in (run / "run.log").read_text()
    status = read(run / "status.json")
    assert status["state"] == "failed"
    assert line.startswith(f"failed: {status['error']}")


def test_strategy_that_leaves_the_fine_loss_out_is_told(sweep: tuple[Path, Ended]) -> None:
    warned = {name for name in SOUND if "did not depend on the fine loss" in (run_of(name, sweep[0]) / "run.log").read_text()}
    assert warned == {"coarse_only"}


def test_nan_after_the_first_step_is_divergence(sweep: tuple[Path, Ended]) -> None:
    found = read(run_of("diverges", sweep[0]) / "result.json")
    assert (found["status"], found["reason"]) == ("diverged", "a loss became NaN or infinite in epoch 2")


def test_file_that_does_not_exist_is_refused_before_anything_trains(cli: CommandLine, tmp_path: Path) -> None:
    """Without its content it has no identity, and so no directory that it could have failed in."""
    write(tmp_path, SOUND["sum"])
    ended = cli("-m", *TINY, "loss=user/file", "loss.path=my_loss.py,missing.py")
    assert (ended.status, ended.err) == (2, "error: missing.py: no such file\n")
    assert not list(tmp_path.glob("**/run.json"))


# -- loading ---------------------------------------------------------------------------------------------------------------------------


def test_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^gone\.py: cannot be imported: FileNotFoundError: .*$"):
        user.load(str(tmp_path / "gone.py"))


def test_arguments_are_named_with_the_fault(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^my_loss\.py: MultiTaskLoss\(depth=3\) raised TypeError: .*'depth'$"):
        user.load(write(tmp_path, UNCERTAINTY), {"depth": 3})


@pytest.mark.parametrize("content", ["raise KeyboardInterrupt", written("pass", "raise KeyboardInterrupt")])
def test_ctrl_c_is_never_the_files_fault(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        user.load(write(tmp_path, content))


def test_loading_leaves_nothing_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path = write(tmp_path, UNCERTAINTY)
    user.load(path)
    assert [str(found) for found in tmp_path.iterdir()] == [path]


def test_errors_that_are_not_the_strategys_stay_as_they_are(tmp_path: Path) -> None:
    strategy = user.load(write(tmp_path, UNCERTAINTY))
    for error in (OSError("disk full"), KeyboardInterrupt()):
        with pytest.raises(type(error)), user.faults_named(strategy):
            raise error
    leaf = torch.ones(1, requires_grad=True)
    leaf.register_hook(_out_of_memory)
    with pytest.raises(torch.OutOfMemoryError), user.faults_named(strategy):
        leaf.sum().backward()
    with pytest.raises(RuntimeError, match="does not require grad"), user.faults_named(HAW()):
        torch.ones(1).sum().backward()


def _out_of_memory(gradient: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")
