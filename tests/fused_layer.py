"""One fused layer, and its gradients as they arrive from the layer behind it, on any device; and what they are in double precision."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from mtlsweep.train.trunk import Forward, Slopes


class Drawn(NamedTuple):
    """Random numbers, bf16 and channels last where they are images.

    Attributes:
        images: that come in.
        layer, norm: of the layer.
        beside: what is added before ReLU.
        before: like the images: what the layer before made, or None where these are a data set's.
        arrives: a gradient like the output: its mean over the pixels arrives from a pool, it itself at the convolution.
    """

    images: torch.Tensor
    layer: nn.Conv2d
    norm: nn.BatchNorm2d
    beside: torch.Tensor
    before: torch.Tensor | None
    arrives: torch.Tensor


def drawn(inputs: int, outputs: int, size: int, stride: int, count: int, device: torch.device) -> Drawn:
    """A layer of channels, size and stride, and a mini-batch."""
    random = torch.Generator(device).manual_seed(0)

    def images(channels: int, size: int) -> torch.Tensor:
        values = torch.randn(count, channels, size, size, device=device, generator=random) + 0.5
        return values.bfloat16().contiguous(memory_format=torch.channels_last)

    torch.manual_seed(0)
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False).to(device).to(memory_format=torch.channels_last)
    layer.weight.data = layer.weight.data.bfloat16().float()
    norm = nn.BatchNorm2d(outputs).to(device)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    made = images(outputs, size // stride)
    return Drawn(images(inputs, size), layer, norm, made, images(inputs, size) if inputs > 3 else None, images(outputs, size // stride))


def executed(given: Drawn) -> dict[str, torch.Tensor]:
    """By the kernels."""
    from mtlsweep.train.kernels import fused_backward, fused_forward

    ticket = torch.zeros(1, dtype=torch.int32, device=given.images.device)
    given.norm.reset_running_stats()
    raw, statistics = fused_forward.convolve(given.images, given.layer, given.norm, torch.bfloat16, ticket)
    found = {"raw": raw, "mean": statistics[0], "reciprocal deviation": statistics[1]}
    found |= {name: value.clone() for name, value in given.norm.named_buffers() if value.is_floating_point()}
    output = fused_forward.finish(raw, statistics, given.norm, fused_forward.Beside(given.beside, 1, 0))
    found["output"] = output
    slopes = [torch.empty_like(statistics[None, :2]), *(torch.empty_like(statistics[:1]) for _ in range(2))]
    made = Forward(raw, statistics, output)
    pooled = given.arrives.float().mean((2, 3)).bfloat16()
    found["entered"] = fused_backward.enter_from_pool(pooled, made, Slopes(*slopes), ticket)
    found |= {"of weight": slopes[1][0], "of bias": slopes[2][0]}
    found["of raw"] = fused_backward.differentiate(found["entered"], made, Slopes(*slopes))
    if given.before is not None:
        channels, stride = given.layer.in_channels, given.layer.stride[0]
        earlier = torch.stack([given.before.float().mean((0, 2, 3)), *torch.ones(2, channels, device=raw.device)])
        slopes = [torch.empty_like(earlier[None, :2]), *(torch.empty_like(earlier[:1]) for _ in range(2))]
        beside = fused_forward.Beside(given.arrives, stride, (given.layer.out_channels - channels) // 2)
        through = Forward(given.before, earlier, given.images)
        found["entered before"] = fused_backward.enter(given.arrives, given.layer.weight, stride, beside, through, Slopes(*slopes), ticket)
        found |= {"of weight before": slopes[1][0], "of bias before": slopes[2][0]}
    return found | {"ticket": ticket}


def expected(given: Drawn, found: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, float]]:
    """In double precision, each from what the kernels had found before it; and how far a kernel's may be from it, relative to its norm."""
    rounded, summed = 4e-3, 1e-5
    stride, weights, count = given.layer.stride[0], given.layer.weight.double(), found["raw"].numel() // given.layer.out_channels
    raw, entered = found["raw"].double(), found["entered"].double()
    mean, deviation = raw.mean((0, 2, 3)), (raw.var((0, 2, 3), correction=0) + given.norm.eps).sqrt()
    scale, bias = (parameter.double().detach().view(-1, 1, 1) for parameter in given.norm.parameters())
    normal = (raw - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)
    pooled = given.arrives.float().mean((2, 3)).bfloat16().double() / (raw.shape[2] * raw.shape[3])
    of_weight, of_bias = (entered * normal).sum((0, 2, 3)), entered.sum((0, 2, 3))
    slope = (entered - of_bias.view(-1, 1, 1) / count - normal * of_weight.view(-1, 1, 1) / count) * scale / deviation.view(-1, 1, 1)
    values = {
        "raw": (conv2d(given.images.double(), weights, None, stride, 1), rounded),
        "mean": (mean, summed),
        "reciprocal deviation": (1 / deviation, summed),
        "running_mean": (0.1 * mean, summed),
        "running_var": (0.9 + 0.1 * raw.var((0, 2, 3)), summed),
        "output": ((normal * scale + bias + given.beside.double()).relu(), rounded),
        "entered": (pooled[:, :, None, None] * (found["output"] > 0), rounded),
        "of weight": (of_weight, 10 * summed),
        "of bias": (of_bias, 10 * summed),
        "of raw": (slope, rounded),
        "ticket": (torch.zeros(1, device=raw.device).double(), 0.0),
    }
    if given.before is not None:
        more = given.images.shape[2] - (raw.shape[2] - 1) * stride - 1
        arrives = conv_transpose2d(given.arrives.double(), weights, None, stride, 1, output_padding=more)
        before = (given.layer.out_channels - given.layer.in_channels) // 2
        arrives[:, :, ::stride, ::stride] += given.arrives.double()[:, before : before + given.layer.in_channels]
        entered = found["entered before"].double()
        distance = given.before.double() - given.before.float().mean((0, 2, 3)).double().view(-1, 1, 1)
        values["entered before"] = (arrives * (given.images > 0), rounded)
        values["of weight before"] = ((entered * distance).sum((0, 2, 3)), 10 * summed)
        values["of bias before"] = (entered.sum((0, 2, 3)), 10 * summed)
    return {name: (value.detach(), tolerance) for name, (value, tolerance) in values.items()}
