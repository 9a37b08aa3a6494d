"""Runs that take turns in one process: each gives what it gives alone."""

import random
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import EVERY_EPOCH, TINY, CommandLine
from trained import interrupt_after, metrics, result

from mtlsweep.interrupt import TimeIsUp
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.lanes import Job, Lane, Turns, take_turns

CPU = torch.device("cpu")


def drawing(seed: int, turns: int) -> Generator[None, None, list[float]]:
    """Draws from all generators that a process shares, seeding them itself."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    drawn: list[float] = []
    for _ in range(turns):
        drawn += [float(torch.rand(())), float(np.random.rand()), random.random()]
        yield
    return drawn


def outcomes(starts: Sequence[Callable[[], Turns[object]]], lanes: int) -> list[object]:
    found: dict[int, object] = {}
    jobs = [
        Job(lambda start=start: Lane(start(), CPU), lambda ended, number=number: found.update({number: ended}))  # type: ignore[misc]
        for number, start in enumerate(starts)
    ]
    take_turns(jobs, lanes)
    return [found[number] for number in range(len(starts))]


@pytest.mark.parametrize("lanes", [1, 2, 4, 9])
def test_what_a_run_draws_does_not_depend_on_who_takes_turns_with_it(lanes: int) -> None:
    starts: list[Callable[[], Generator[None, None, object]]] = [lambda n=n: drawing(n, 3 + n) for n in range(6)]  # type: ignore[misc]
    assert outcomes(starts, lanes) == [outcomes([start], 1)[0] for start in starts]


def test_no_more_runs_than_lanes_are_begun_at_a_time() -> None:
    going: set[int] = set()
    most = 0

    def run(number: int) -> Generator[None, None, None]:
        nonlocal most
        going.add(number)
        most = max(most, len(going))
        for _ in range(1 + number % 3):
            yield
        going.remove(number)

    outcomes([lambda n=n: run(n) for n in range(7)], 3)  # type: ignore[misc]
    assert most == 3
    assert not going


class Event:
    """Something that a device will have done."""

    done = False

    def query(self) -> bool:
        return self.done


def test_a_run_that_waits_for_its_device_is_passed_over_until_that_is_done() -> None:
    event, order = Event(), []

    def waiting() -> Generator[Event | None, None, None]:
        order.append("asked")
        yield event
        order.append("done" if event.done else "too early")

    def busy() -> Generator[Event | None, None, None]:
        for step in range(4):
            order.append(f"step {step}")
            event.done = step >= 2
            yield None

    outcomes([waiting, busy], 2)
    assert order == ["asked", "step 0", "step 1", "step 2", "done", "step 3"]


def test_a_run_alone_waits_by_itself() -> None:
    def waiting() -> Generator[Event | None, None, str]:
        yield Event()
        return "waited"

    assert outcomes([waiting], 2) == ["waited"]


def test_where_all_wait_the_first_that_is_done_goes_on() -> None:
    class Late(Event):
        """Done when it is asked for the so manieth time."""

        def __init__(self, asked: int) -> None:
            self.left = asked

        def query(self) -> bool:
            self.left -= 1
            return self.left < 0

    order = []

    def waiting(name: str, event: Event) -> Generator[Event | None, None, None]:
        yield event
        order.append(name)

    outcomes([lambda: waiting("oldest", Late(5)), lambda: waiting("first", Late(2))], 2)
    assert order == ["first", "oldest"]


def test_a_run_that_raises_ends_alone() -> None:
    def failing() -> Generator[None, None, str]:
        yield
        raise ValueError("diverged beyond hope")

    def healthy() -> Generator[None, None, str]:
        for _ in range(5):
            yield
        return "healthy"

    first, second, third = outcomes([healthy, failing, healthy], 2)
    assert (first, third) == ("healthy", "healthy")
    assert isinstance(second, ValueError)


def test_ctrl_c_in_one_runs_turn_interrupts_all_that_have_begun() -> None:
    interrupted = []

    def waiting(number: int) -> Generator[None, None, None]:
        try:
            while True:
                yield
        except KeyboardInterrupt:
            interrupted.append(number)
            raise

    def pressing() -> Generator[None, None, None]:
        yield
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcomes([lambda: waiting(0), pressing, lambda: waiting(2), lambda: waiting(3)], 3)
    assert interrupted == [0, 2]


def test_at_the_end_of_a_jobs_time_every_run_comes_to_the_end_of_its_epoch() -> None:
    ended, begun = [], []

    def run(number: int, epoch: int) -> Generator[None, None, None]:
        begun.append(number)
        for step in range(40):
            if step and step % epoch == 0 and step >= 6:
                ended.append((number, step))
                raise TimeIsUp
            yield

    with pytest.raises(TimeIsUp):
        outcomes([lambda: run(0, 2), lambda: run(1, 9), lambda: run(2, 1)], 2)
    assert ended == [(0, 6), (1, 9)]
    assert begun == [0, 1]


def test_a_run_that_lacks_memory_beside_others_goes_on_with_fewer() -> None:
    """Here there is memory for two: the third and the fourth to begin wait until there is room, and there are never more again."""
    going, told = list[int](), list[object]()
    most, failed = list[int](), list[int]()

    def run(number: int) -> Generator[None, None, int]:
        going.append(number)
        try:
            for turn in range(6):
                if len(going) > 2 and turn == 1:
                    failed.append(number)
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                yield
                most.append(len(going) if failed else 0)
        finally:
            going.remove(number)
        return number

    jobs = [Job(lambda n=n: Lane(run(n), CPU), told.append, lambda: told.append("later")) for n in range(7)]  # type: ignore[misc]
    take_turns(jobs, 4)
    assert sorted(one for one in told if one != "later") == list(range(7))  # type: ignore[type-var]
    assert told.count("later") == len(failed) > 0
    assert max(most[-20:]) == 2


def test_a_run_that_lacks_memory_alone_has_failed() -> None:
    def run() -> Generator[None, None, None]:
        yield
        raise torch.OutOfMemoryError("CUDA out of memory.")

    found = outcomes([run, run], 2)
    assert [type(one) for one in found] == [torch.OutOfMemoryError] * 2


def test_a_run_that_cannot_begin_is_told_and_the_next_one_begins() -> None:
    def refused() -> Lane:
        raise RuntimeError("no stream")

    told: list[object] = []
    good: list[Job[object]] = [Job(lambda: Lane(drawing(0, 2), CPU), told.append) for _ in range(2)]
    take_turns([Job(refused, told.append), Job(refused, told.append), *good, Job(refused, told.append)], 2)
    assert [str(one) for one in told if isinstance(one, Exception)] == ["no stream"] * 3
    assert sum(isinstance(one, list) for one in told) == 2


def test_a_device_that_fails_while_it_is_waited_for_fails_its_run_only() -> None:
    class Broken(Event):
        def query(self) -> bool:
            raise RuntimeError("an illegal memory access was encountered")

    def waiting() -> Generator[Event | None, None, None]:
        event = Broken()
        yield event
        event.query()

    broken, healthy = outcomes([waiting, lambda: drawing(0, 5)], 2)
    assert isinstance(broken, RuntimeError)
    assert isinstance(healthy, list)


def test_each_run_has_its_own_number_of_threads() -> None:
    def run(threads: int) -> Generator[None, None, list[int]]:
        torch.set_num_threads(threads)
        seen = []
        for _ in range(3):
            seen.append(torch.get_num_threads())
            yield
        return seen

    assert outcomes([lambda: run(1), lambda: run(2)], 2) == [[1, 1, 1], [2, 2, 2]]


DRAWS_FROM_EVERYWHERE = """
import random
import numpy as np
import torch
from torch import nn
class MultiTaskLoss(nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        noise = float(torch.rand(())) + float(np.random.rand()) + random.random()
        return fine_loss + noise * coarse_loss
"""
SWEEP = ["-m", *TINY, EVERY_EPOCH, "loss=rlw,pcgrad,graddrop,dwa", "seed=1,2"]


def every_run(study: str) -> dict[str, Path]:
    return {str(path.parent.relative_to(Path("runs", study))): path.parent for path in Path("runs", study).glob("**/run.json")}


def numbers(study: str) -> dict[str, list[dict[str, str]]]:
    """The metrics of every run."""
    return {name: metrics(run) for name, run in every_run(study).items()}


def test_real_runs_give_the_same_bits_alone_and_four_at_once(cli: CommandLine) -> None:
    Path("my_loss.py").write_text(DRAWS_FROM_EVERYWHERE)
    for study, lanes in (("alone", 1), ("together", 4)):
        launcher = [f"study={study}", f"hydra.launcher.lanes={lanes}"]
        assert cli(*SWEEP, *launcher).status == 0
        assert cli("-m", *TINY, "loss=user/file", "loss.path=my_loss.py", "seed=1,2,3", *launcher).status == 0
    alone, together = every_run("alone"), every_run("together")
    assert len(alone) == 11
    assert alone.keys() == together.keys()
    for name, run in alone.items():
        assert metrics(run) == metrics(together[name]), name
        assert result(run)["status"] == "completed"


def test_a_run_that_fails_or_diverges_leaves_those_beside_it_alone(cli: CommandLine) -> None:
    Path("bad.py").write_text(DRAWS_FROM_EVERYWHERE.replace("return fine_loss", "assert epoch == 0, 'no more'\n        return fine_loss"))
    Path("good.py").write_text(DRAWS_FROM_EVERYWHERE)
    ended = cli("-m", *TINY, "loss=user/file", "loss.path=bad.py,good.py", "seed=1,2", "hydra.launcher.lanes=4")
    assert ended.status == 1
    assert "2 failed, 2 completed" in ended.out
    assert ended.out.count("failed: bad.py, line 9: AssertionError: no more") >= 2


def test_a_sweep_for_whose_lanes_memory_is_not_enough_ends_with_all_its_runs(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ["-m", *TINY, EVERY_EPOCH, "seed=1,2"]
    assert cli(*run, "study=alone").status == 0
    evaluate, evaluations = Trainer.evaluate, list[Trainer]()

    def evaluate_or_fail(trainer: Trainer, *arguments: Any) -> Any:
        evaluations.append(trainer)
        if len(evaluations) == 3:  # in the second epoch
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return evaluate(trainer, *arguments)

    monkeypatch.setattr(Trainer, "evaluate", evaluate_or_fail)
    ended = cli(*run, "study=together", "hydra.launcher.lanes=2")
    assert ended.status == 0, ended
    assert ended.out.count("memory ran out; it goes on when another run has ended") == 1
    assert numbers("together") == numbers("alone")


def test_an_interrupted_sweep_of_lanes_goes_on_where_it_was(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(*SWEEP, "study=undisturbed").status == 0
    with monkeypatch.context() as patch:
        interrupt_after(15, patch)
        assert cli(*SWEEP, "study=s", "hydra.launcher.lanes=3").status == 130
    states = [path.parent / "status.json" for path in Path("runs", "s").glob("**/run.json")]
    assert sum(path.exists() for path in states) == 3
    assert cli(*SWEEP, "study=s", "hydra.launcher.lanes=2").status == 0
    assert numbers("s") == numbers("undisturbed")


@pytest.mark.parametrize("lanes", ["0", "two", "1.5"])
def test_a_wrong_number_of_lanes_is_one_line(cli: CommandLine, lanes: str) -> None:
    ended = cli("-m", *TINY, f"hydra.launcher.lanes={lanes}")
    assert ended.status == 2
    assert f"hydra.launcher.lanes={lanes}: must be a whole number of at least 1" in ended.err
