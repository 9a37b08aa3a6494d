"""What can be measured, and for how long."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.parts import (
    augment,
    ceilings,
    determinism,
    epochs,
    evaluation,
    kinds,
    ladder,
    lanes,
    loops,
    memory,
    peers,
    profile,
    startup,
)
from benchmarks.section import Section
from benchmarks.setting import Setting


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        run: measures, and yields its tables as they are done.
        cpu: seconds for it, and steps of a round, on a CPU; None: only measured when it is asked for.
        cuda: the same on a GPU. All together leave a minute and a half of ten for what overruns: until `--minutes`, three rounds are made.
    """

    run: Callable[[Setting], Iterator[Section]]
    cpu: tuple[float, int] | None
    cuda: tuple[float, int] | None

    def setting(self, setting: Setting) -> Setting:
        """The setting with this part's time and steps."""
        own, other = (self.cuda, self.cpu) if setting.device.type == "cuda" else (self.cpu, self.cuda)
        seconds, steps = own or other or UNPLANNED
        return setting.lasting(seconds).stepping(steps)


UNPLANNED = (60.0, 2)

# In the order in which they are measured: what an interrupted measurement must not lack comes first.
PARTS = {
    "ceilings": Part(ceilings.run, None, (10, 20)),
    "loops": Part(loops.run, (210, 2), (150, 50)),
    "ladder": Part(ladder.run, None, (90, 100)),
    "epochs": Part(epochs.run, None, (40, 1)),
    "kinds": Part(kinds.run, (240, 2), (40, 50)),
    "peers": Part(peers.run, (210, 2), (60, 30)),
    "lanes": Part(lanes.run, None, (60, 50)),
    "determinism": Part(determinism.run, None, (20, 20)),
    "augment": Part(augment.run, (30, 2), None),
    "evaluation": Part(evaluation.run, (60, 1), (20, 1)),
    "startup": Part(startup.run, (40, 1), (20, 1)),
    "memory": Part(memory.run, (0, 1), None),
    "profile": Part(profile.run, None, (10, 5)),
}


def usual(device: str) -> list[str]:
    """The parts that are measured on a kind of device when none is named."""
    return [name for name, part in PARTS.items() if getattr(part, device)]
