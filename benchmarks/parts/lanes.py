"""Several runs at once on one GPU."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks import subjects
from benchmarks.choices import engine
from benchmarks.section import Section, times, training_layout
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Comparison, measure

LANES = (1, 2, 4, 8, 16)
QUICK_LANES = (1, 2)


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture: equal-weight runs."""
    counts = QUICK_LANES if setting.quick else LANES
    for network, plan in setting.each():
        ours = Ours(network, setting.device, setting.batch, options=engine(network, setting.device)[1])
        comparison = measure({_name(count): ours.training(count) for count in counts}, plan, setting.device)
        layout = training_layout([_name(1)], network, setting.batch, subjects.device_name(setting.device))
        remarks = [f"time on the device for a step of one run; engine: {ours.choices()}"]
        yield times(f"Runs at once, {network}, batch {setting.batch}", per_run(comparison, counts), layout, remarks)


def per_run(comparison: Comparison, counts: Sequence[int]) -> Comparison:
    """The same of a step of one run: each comparison's step is one of every run."""
    measured = {_name(count): count for count in counts if _name(count) in comparison.times}
    return replace(comparison, times={name: [time / count for time in comparison.times[name]] for name, count in measured.items()})


def _name(count: int) -> str:
    return f"K = {count}"
