"""The engine's settings that are measured side by side."""

from typing import Any

import torch

from benchmarks.subjects import TINY, few_channels

Options = dict[str, Any]


def options(precision: str, channels_last: bool, compiled: bool, graph: bool = False, triton: bool = False, fused: bool = False) -> Options:
    """`engine.` settings, none of them left to `auto`."""
    return {
        **{"precision": precision, "channels_last": channels_last, "compile": compiled},
        **{"graph": graph, "triton": triton, "fused": fused},
    }


# On a GPU a network of few channels is fused in Triton in place of compiled; of others the heads are.
AUTO, FASTEST = "ours, auto", "ours, bf16 channels_last compiled or fused graph"
# Of others their layers can be fused, too; which is faster has not been measured.
FUSED = "ours, bf16 channels_last fused graph"
# In the order of the table. On a GPU the other libraries' arithmetic and the fastest only: the ladder has what lies between, and each
# architecture in each precision takes up to a minute to compile.
CPU: dict[str, Options] = {
    AUTO: {},
    "ours, fp32 contiguous": options("fp32", channels_last=False, compiled=False),
    "ours, fp32 channels_last": options("fp32", channels_last=True, compiled=False),
    "ours, fp32 channels_last compiled": options("fp32", channels_last=True, compiled=True),
    "ours, bf16 contiguous": options("bf16", channels_last=False, compiled=False),
    "ours, bf16 channels_last": options("bf16", channels_last=True, compiled=False),
    "ours, bf16 channels_last compiled": options("bf16", channels_last=True, compiled=True),
    "ours, bf16 channels_last fused": options("bf16", channels_last=True, compiled=False, fused=True),
}
CUDA: dict[str, Options] = {
    "ours, fp32 contiguous": options("fp32", channels_last=False, compiled=False),
    FASTEST: options("bf16", channels_last=True, compiled=True, graph=True, triton=True, fused=True),
    FUSED: options("bf16", channels_last=True, compiled=False, graph=True, triton=True, fused=True),
}


def engines(network: str, device: torch.device) -> dict[str, Options]:
    """What is measured of a network."""
    every = CUDA if device.type == "cuda" else CPU
    new = {name: chosen for name, chosen in every.items() if name != FUSED or not few_channels(network)}  # else it is the fastest
    return {name: chosen for name, chosen in new.items() if not too_long(network, device, chosen)}


def engine(network: str, device: torch.device) -> tuple[str, Options]:
    """The one setting, and its name, where only one is measured: the fastest on a GPU, `auto` on a CPU."""
    name = FASTEST if device.type == "cuda" else AUTO
    return name, engines(network, device)[name]


def too_long(network: str, device: torch.device, chosen: Options) -> bool:
    """Whether compiling would take longer than all else that is done with the smallest network. On a GPU it is what is to be tried."""
    return network == TINY and device.type == "cpu" and bool(chosen.get("compile"))
