"""Whether the same settings give the same weights, bit for bit, twice in one process."""

import hashlib
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.parts.ladder import rungs
from benchmarks.section import Row, Section
from benchmarks.setting import Setting
from benchmarks.subjects import Ours

STEPS = 20


def run(setting: Setting) -> Iterator[Section]:
    """One table: every rung of the ladder, a scalar and a gradient strategy, on the smallest architecture."""
    steps = setting.plan.steps if setting.quick else STEPS
    rows: list[Row] = []
    for name, options in rungs(setting.networks[0], setting.device).items():
        for loss in ("equal", "pcgrad"):
            ours = Ours(setting.networks[0], setting.device, setting.batch, loss, options=options)
            first, second = (digest(ours.trained(steps)) for _ in range(2))
            rows.append({"": f"{name}, {loss}", "first": first, "second": second, "equal": "yes" if first == second else "no"})
    yield Section(f"Weights after {steps} steps, hashed, {setting.networks[0]}", rows, data={"rows": rows})


def digest(model: nn.Module) -> str:
    """The first digits of a hash of all parameters and buffers."""
    found = hashlib.sha256()
    for tensor in model.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]
