"""Where the time of a step goes."""

from collections.abc import Iterator

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.choices import engine
from benchmarks.section import Row, Section
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import synchronize

STEPS, SHOWN = 5, 12


def run(setting: Setting) -> Iterator[Section]:
    """A table for each architecture: the operations that take longest, of an equal-weight step."""
    for network in setting.networks:
        steps = setting.plan.steps if setting.quick else STEPS
        perform = Ours(network, setting.device, setting.batch, options=engine(network, setting.device)[1]).training().prepare(steps)
        perform()
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if setting.device.type == "cuda" else [])
        with profile(activities=activities) as recorded:
            perform()
            synchronize(setting.device)
        yield _section(network, setting.device, steps, recorded)


def _section(network: str, device: torch.device, steps: int, recorded: profile) -> Section:
    # On a GPU its kernels only: the operations that launched them tell of the same time again.
    kind = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [event for event in recorded.key_averages() if event.device_type == kind]
    spent = {event.key: (event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total) for event in events}
    counts = {event.key: event.count / steps for event in events}
    total = sum(spent.values())
    rows: list[Row] = [
        {
            "operation": key[:80],
            "us a step": f"{spent[key] / steps:.4g}",
            "share": f"{spent[key] / total:.1%}",
            "a step": f"{counts[key]:.3g}",
        }
        for key in sorted(spent, key=spent.__getitem__, reverse=True)[:SHOWN]
    ]
    remark = f"{sum(counts.values()):.0f} operations a step, {total / steps:.4g} us within them; the profiler's own time is in it"
    return Section(f"Profile of an equal-weight step, {network}", rows, [remark], {"self us a step": spent, "count a step": counts})
