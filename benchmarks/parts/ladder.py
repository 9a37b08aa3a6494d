"""What each setting of the engine adds, one upon the other; on the larger architectures the first and the last rung only."""

from collections.abc import Iterator

import torch

from benchmarks import subjects
from benchmarks.choices import Options, options, too_long
from benchmarks.section import Section, times, training_layout
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import measure

RESIDENT = "data in memory, fp32"

RUNGS = {
    RESIDENT: options("fp32", channels_last=False, compiled=False),
    "+ channels_last": options("fp32", channels_last=True, compiled=False),
    "+ bf16": options("bf16", channels_last=True, compiled=False),
    "+ compiled": options("bf16", channels_last=True, compiled=True),
    "+ CUDA graph": options("bf16", channels_last=True, compiled=True, graph=True),
    "+ Triton": options("bf16", channels_last=True, compiled=True, graph=True, triton=True),
    "+ fused, in place of compiled": options("bf16", channels_last=True, compiled=False, graph=True, triton=True, fused=True),
}


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture."""
    for number, (network, plan) in enumerate(setting.each()):
        every = list(rungs(network, setting.device).items())
        climbed = dict(every if number == 0 else [every[0], every[-1]])
        trained = {name: Ours(network, setting.device, setting.batch, options=chosen).training() for name, chosen in climbed.items()}
        comparison = measure(trained, plan, setting.device)
        layout = training_layout([RESIDENT], network, setting.batch, subjects.device_name(setting.device))
        yield times(f"The engine's settings, one upon the other, {network}, batch {setting.batch}", comparison, layout)


def rungs(network: str, device: torch.device) -> dict[str, Options]:
    """Those of a network (see `choices.engines`) on a device."""
    possible = {name: chosen for name, chosen in RUNGS.items() if device.type == "cuda" or not chosen["graph"]}
    triton = subjects.few_channels(network)
    return {name: chosen for name, chosen in possible.items() if not too_long(network, device, chosen) and (triton or not chosen["triton"])}
