"""The usual loop, a plain loop in memory, and the engine with each of its settings."""

from collections.abc import Iterator

from benchmarks import plain, subjects
from benchmarks.choices import engines
from benchmarks.section import Section, times, training_layout
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Subject, measure

REFERENCE = "plain loop in memory"
# Processes that the usual loop's loader starts.
WORKERS = {"cpu": (0, 2), "cuda": (2, 4, 8)}


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture."""
    for network, plan in setting.each():
        comparison = measure(compared(setting, network), plan, setting.device)
        layout = training_layout([REFERENCE, *usual(setting)[-1:]], network, setting.batch, subjects.device_name(setting.device))
        auto = Ours(network, setting.device, setting.batch).choices()
        yield times(f"Training loops, {network}, batch {setting.batch}", comparison, layout, [f"engine=auto is {auto}"])


def compared(setting: Setting, network: str) -> dict[str, Subject]:
    """What is measured, by name."""
    where = (network, setting.device, setting.batch)
    usual_loops = {name: plain.usual_loop(*where, workers) for name, workers in zip(usual(setting), _workers(setting), strict=True)}
    reference = {REFERENCE: plain.plain_loop(*where)}
    ours = {name: Ours(*where, options=options).training() for name, options in engines(network, setting.device).items()}
    return usual_loops | reference | ours


def usual(setting: Setting) -> list[str]:
    """Names of the usual loops, by number of workers."""
    return [f"usual loop, {count} workers" for count in _workers(setting)]


def _workers(setting: Setting) -> tuple[int, ...]:
    # The clock of processor time does not see other processes before they end.
    return (0,) if setting.quick or setting.plan.clock == "cpu" else WORKERS[setting.device.type]
