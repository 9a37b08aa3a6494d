"""What was measured on: without it a figure says nothing."""

import os
import platform
from datetime import datetime
from importlib import metadata
from typing import Any

import torch

from benchmarks import subjects

PACKAGES = ("torch", "torchvision", "numpy", "torchjd", "LibMTL")
# Instructions that decide how fast bf16 is on a processor.
BF16 = ("avx512_bf16", "amx_bf16")


def describe(device: torch.device) -> dict[str, Any]:
    """Machine, versions and moment."""
    return {
        "date": now(),
        "processor": subjects.device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16 instructions": [name for name in BF16 if name in subjects.instructions()],
        "device": subjects.device_name(device),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := version(name))},
        "load average": list(os.getloadavg()),
    } | subjects.code_version()


def version(package: str) -> str | None:
    """Of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def now() -> str:
    """The local time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def sentence(machine: dict[str, Any]) -> str:
    """The description in a line."""
    where = machine["device"] if machine["device"] == machine["processor"] else f"{machine['device']}; {machine['processor']}"
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    bf16 = ", ".join(machine["bf16 instructions"]) or "none"
    return "; ".join(
        [
            f"{where}, {machine['cores']} cores, {machine['threads']} threads, bf16 instructions: {bf16}",
            f"Python {machine['python']}, {versions}",
            machine["date"],
            f"load average at the start {machine['load average'][0]:.1f}",
        ]
    )
