"""Runs that take turns in one process: each gives what it gives alone."""

import random
from collections.abc import Callable, Generator

import numpy as np
import pytest
import torch

from mtlsweep.train.lanes import Job, Lane, exhaust, take_turns

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


def outcomes(starts: list[Callable[[], Generator[None, None, object]]], lanes: int) -> list[object]:
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
    assert outcomes(starts, lanes) == [exhaust(start()) for start in starts]


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


def test_each_run_has_its_own_number_of_threads() -> None:
    def run(threads: int) -> Generator[None, None, list[int]]:
        torch.set_num_threads(threads)
        seen = []
        for _ in range(3):
            seen.append(torch.get_num_threads())
            yield
        return seen

    assert outcomes([lambda: run(1), lambda: run(2)], 2) == [[1, 1, 1], [2, 2, 2]]
