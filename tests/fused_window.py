"""What lies between two convolutions of a VGG, BatchNorm, ReLU and a pool, on any device; and what it is in double precision."""

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from mtlsweep.train.kernels import norm_relu_pool
from mtlsweep.train.trunk import Forward, Slopes


def executed(channels: int, size: int, window: int, count: int, precision: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    """Of random numbers, which are among what is returned: all that the kernels make, two gradients at once."""
    random = torch.Generator(device).manual_seed(0)

    def drawn(batch: int, size: int) -> torch.Tensor:
        values = torch.randn(batch, channels, size, size, device=device, generator=random) + 0.5
        return ((8 * values).round() / 8).to(precision).contiguous(memory_format=torch.channels_last)

    norm = nn.BatchNorm2d(channels).to(device)
    for parameter in norm.parameters():
        values = torch.randn(channels, device=device, generator=random)
        parameter.data.copy_(values + values.sign() / 4)
    raw, arrives = drawn(count, size), drawn(2 * count, size // window)
    ticket = torch.zeros(2 * channels // norm_relu_pool.CHANNELS, dtype=torch.int32, device=device)
    with torch.no_grad():
        statistics = norm_relu_pool.statistics(raw, norm, ticket)
        output = norm_relu_pool.output(raw, statistics[0], statistics[2], norm.bias, window)
        made = Forward(raw, statistics, output)
        slopes = Slopes(*(torch.empty(2, *shape, device=device) for shape in ((2, channels), (channels,), (channels,))))
        norm_relu_pool.enter(arrives, made, norm.bias, window, slopes, ticket)
        of_raw = norm_relu_pool.differentiate(arrives, made, norm.bias, window, slopes)
    given = {"raw": raw, "arrives": arrives, "scale": norm.weight.detach(), "shift": norm.bias.detach()}
    found = {"mean": statistics[0], "reciprocal deviation": statistics[1], "output": output, "of raw": of_raw}
    found |= {"of weight": slopes.weight, "of bias": slopes.bias}
    return given | found | dict(norm.named_buffers()) | {"ticket": ticket}


def expected(found: dict[str, torch.Tensor], window: int) -> dict[str, tuple[torch.Tensor, float]]:
    """From what was drawn; and how far what was made may be from it, relative to its norm.

    What was drawn has steps, so that the pixels of a window are alike or far from it. (A window larger than 1 takes fp32 all the same: in
    bf16 a rounding decides which is the largest.) But whether a value near 0 passes ReLU a rounding may decide, of one in a million.
    """
    summed, passed = 1e-5, 3e-3
    rounded = 4e-3 if found["raw"].dtype == torch.bfloat16 else summed
    raw = found["raw"].double().requires_grad_()
    scale, shift = (found[name].double().requires_grad_() for name in ("scale", "shift"))
    mean, variance = raw.mean((0, 2, 3), keepdim=True), raw.var((0, 2, 3), correction=0, keepdim=True)
    values = (raw - mean) / (variance + 1e-5).sqrt() * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
    output = max_pool2d(values.relu(), window)
    of_both = [
        torch.autograd.grad(output, [raw, scale, shift], arrives.double(), retain_graph=True)
        for arrives in found["arrives"].split(len(raw))
    ]
    of_raw, of_weight, of_bias = (list(one) for one in zip(*of_both, strict=True))
    return {
        "mean": (mean.flatten().detach(), summed),
        "reciprocal deviation": (1 / (variance + 1e-5).sqrt().flatten().detach(), summed),
        "running_mean": (0.1 * mean.flatten().detach(), summed),
        "running_var": (0.9 + 0.1 * raw.var((0, 2, 3)).detach(), summed),
        "output": (output.detach(), rounded),
        "of raw": (torch.cat(of_raw), max(rounded, passed)),
        "of weight": (torch.stack(of_weight), 10 * summed),
        "of bias": (torch.stack(of_bias), 10 * summed),
        "ticket": (torch.zeros(len(found["ticket"]), device=raw.device).double(), 0.0),
    }
