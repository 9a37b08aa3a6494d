"""Times subjects side by side.

Every round measures each subject once, so that a machine that slows down slows all of them; a ratio is taken within a round, and its
spread is that over the rounds.
"""

import gc
import math
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch


def cpu_seconds() -> float:
    """Processor time of this process, its threads together, and of the processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# What a subject's time is read from. Others' work on the machine is in the first; the second says nothing of a GPU, and counts what threads
# spend waiting for each other.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": cpu_seconds}

# Rounds that are made even when a plan's seconds are over: fewer have no spread.
LEAST = 3

# How often a subject performs its steps before it is timed. The second time a GPU's graphs of the last of them are recorded.
WARM_UPS = {"cpu": 1, "cuda": 2}


@dataclass(frozen=True)
class Subject:
    """Something that performs steps.

    Attributes:
        prepare: makes ready for a number of steps, and returns what performs that many.
        steps: performed a round; None: the plan's.
    """

    prepare: Callable[[int], Callable[[], object]]
    steps: int | None = None


@dataclass(frozen=True)
class Plan:
    """How long is measured.

    Attributes:
        steps: performed by each subject in a round.
        rounds: the most.
        seconds: after which no round is begun that would not end in time, the warm-up included; `LEAST` rounds are made all the same.
        until: on `time.monotonic`; nothing is begun after it, but for the first round.
        clock: of `CLOCKS`.
    """

    steps: int
    rounds: int
    seconds: float
    until: float = math.inf
    clock: str = "wall"

    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return time.monotonic() > self.until


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of a measurement's rounds."""
        return cls(*np.quantile(values, [0.5, 0.25, 0.75]).tolist())


@dataclass
class Comparison:
    """What was measured.

    Attributes:
        times: seconds a step in each round, by subject.
        warm_up: seconds until each subject had performed its first steps: building, compiling and all.
        failed: why a subject could not be measured, in a line.
        clock: what the times were read from, of `CLOCKS`.
    """

    times: dict[str, list[float]] = field(default_factory=dict)
    warm_up: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    clock: str = "wall"

    def step(self, name: str) -> Spread:
        """Seconds a step."""
        return Spread.of(self.times[name])

    def ratio(self, name: str, reference: str) -> Spread:
        """Of the seconds a step to those of the reference in the same round."""
        return Spread.of([one / other for one, other in zip(self.times[name], self.times[reference], strict=True)])


def measure(
    subjects: Mapping[str, Subject],
    plan: Plan,
    device: torch.device,
    clock: Callable[[], float] | None = None,
) -> Comparison:
    """Time subjects, each after a warm-up of as many steps as it will perform in a round, or of twice as many (`WARM_UPS`).

    A subject that raises while it is prepared or warmed up is left out, and the reason kept; later errors are raised. A clock that is given
    takes the place of the plan's.
    """
    clock = clock or CLOCKS[plan.clock]
    began = clock()
    comparison = Comparison(clock=plan.clock)
    ready = _warm_up(subjects, plan, device, clock, comparison)
    comparison.times = {name: [] for name in ready}
    last = 0.0
    for count in range(plan.rounds if ready else 0):
        start = clock()
        if (count >= LEAST and start - began + last > plan.seconds) or (count and plan.over()):
            break
        gc.collect()
        for name in _rotated(list(ready), count):
            steps = subjects[name].steps or plan.steps
            comparison.times[name].append(_time(ready[name], device, clock) / steps)
        last = clock() - start
    return comparison


def _warm_up(
    subjects: Mapping[str, Subject], plan: Plan, device: torch.device, clock: Callable[[], float], comparison: Comparison
) -> dict[str, Callable[[], object]]:
    ready = {}
    for name, subject in subjects.items():
        start = clock()
        try:
            if plan.over():
                raise TimeoutError("the time was over")
            perform = subject.prepare(subject.steps or plan.steps)
            for _ in range(WARM_UPS[device.type]):
                _time(perform, device, clock)
        except Exception as error:  # another library's, or of a compiler: one subject less, not one measurement less
            comparison.failed[name] = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        else:
            ready[name] = perform
            comparison.warm_up[name] = clock() - start
    return ready


def _rotated(names: list[str], count: int) -> list[str]:
    """Each round begins with another subject, so that none always follows the same one."""
    shift = count % len(names)
    return names[shift:] + names[:shift]


def _time(perform: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    synchronize(device)
    start = clock()
    perform()
    synchronize(device)
    return clock() - start


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
