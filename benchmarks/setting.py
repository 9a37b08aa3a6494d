"""What a part is told: where to measure, what, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from benchmarks.timing import Plan

ARCHITECTURES = ("resnet20", "resnet56", "vgg16bn")


@dataclass(frozen=True)
class Setting:
    """Where, what and how long.

    Attributes:
        device: where everything runs.
        networks: the architectures.
        batch: images a step.
        plan: of one comparison; its seconds are the whole part's.
        quick: the smallest network and the fewest steps, to see that a part works. Its figures mean nothing.
    """

    device: torch.device
    networks: tuple[str, ...] = ARCHITECTURES
    batch: int = 128
    plan: Plan = field(default_factory=lambda: Plan(steps=2, rounds=15, seconds=60))
    quick: bool = False

    @classmethod
    def small(cls, device: torch.device) -> "Setting":
        """A quick one."""
        return cls(device, ("tiny",), batch=4, plan=Plan(steps=1, rounds=2, seconds=0), quick=True)

    def lasting(self, seconds: float) -> "Setting":
        """With another time for the part."""
        return self if self.quick else replace(self, plan=replace(self.plan, seconds=seconds))

    def until(self, moment: float) -> "Setting":
        """With an end, on `time.monotonic`."""
        return replace(self, plan=replace(self.plan, until=moment))

    def by(self, clock: str) -> "Setting":
        """With another clock."""
        return replace(self, plan=replace(self.plan, clock=clock))

    def stepping(self, steps: int) -> "Setting":
        """With another number of steps a round."""
        return self if self.quick else replace(self, plan=replace(self.plan, steps=steps))

    def each(self) -> Iterator[tuple[str, Plan]]:
        """The architectures, and an equal share of the time for each."""
        share = replace(self.plan, seconds=self.plan.seconds / len(self.networks))
        return ((network, share) for network in self.networks)
