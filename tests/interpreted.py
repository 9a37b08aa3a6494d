"""Prints, as JSON, how far the Triton kernels' results are from torch's: run with TRITON_INTERPRET=1, on a CPU, in fp32, for Triton's
interpreter cannot multiply bf16."""

import json

import torch
from torch.nn.functional import conv2d

from mtlsweep.data import Augmentation, normalize
from mtlsweep.data.dataset import Split
from mtlsweep.train.kernels import few_channels
from mtlsweep.train.kernels.crop_flip import crop_flip

# Every kind of layer there is, by its channels, size and stride: an image's three channels or more, as many or more of them, whole or half
# the size; and pixels that are no whole number of tiles.
LAYERS = [(3, 16, 8, 1), (16, 16, 4, 1), (16, 32, 8, 2), (64, 64, 4, 1), (32, 64, 7, 2)]
CASES = {str(layer): (layer, torch.channels_last) for layer in LAYERS} | {"weights channels first": (LAYERS[-1], torch.contiguous_format)}


def errors(inputs: int, outputs: int, size: int, stride: int, layout: torch.memory_format) -> dict[str, float]:
    """Relative to the norm of torch's results in double precision."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, inputs, size, size, generator=random).to(memory_format=torch.channels_last)
    weights = torch.randn(outputs, inputs, 3, 3, generator=random).to(memory_format=layout)
    exact = [tensor.double().requires_grad_() for tensor in (images, weights)]
    expected = conv2d(exact[0], exact[1], None, stride, 1)
    arrives = torch.randn(expected.shape, generator=random).to(memory_format=torch.channels_last)
    of_images, of_weights = torch.autograd.grad(expected, exact, arrives.double())
    found = {"convolution": _error(few_channels.convolve(images, weights, stride, torch.float32), expected)}
    of_ours = few_channels.weight_gradient(images, arrives, weights, stride)
    found["weights"] = _error(of_ours, of_weights) if of_ours.stride() == weights.stride() else 1.0
    if inputs > 3:
        found["images"] = _error(few_channels.input_gradient(arrives, weights, stride, size, size), of_images)
    return found


def batch_is_the_same() -> bool:
    """Whether one kernel makes the mini-batch of a few images that torch's operations make, bit for bit: all crops, flipped or not."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 32, 32, 3), generator=random).to(torch.uint8)
    split = Split(images, torch.arange(5) + 10, torch.arange(5) + 20)
    statistics = (torch.tensor(255.0), torch.tensor([0.5071, 0.4865, 0.4409]), torch.tensor([0.2673, 0.2564, 0.2762]))
    white, mean, std = statistics[0], *(values.view(3, 1, 1) for values in statistics[1:])
    table = normalize(torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 1, 1), white, mean, std).view(256, 3)
    number = torch.arange(0, 162, 7)
    indices, codes = number % 5, torch.stack([number % 9, number // 9 % 9, number // 81])
    made = crop_flip(split, indices, torch.cat([codes, codes], 1)[:, : len(number)], table)
    expected = normalize(Augmentation(images).batch(indices, codes), white, mean, std)
    return made[0].equal(expected) and made[1].equal(split.fine[indices]) and made[2].equal(split.coarse[indices])


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


if __name__ == "__main__":
    few_channels.TILES_BY_CHANNELS.clear()
    for kind, rows in (("convolve", "BLOCK_M"), ("input_gradient", "BLOCK_M"), ("weight_gradient", "CHUNK")):
        few_channels.TILES[kind][rows] = 64
    found = {name: errors(*layer, layout) for name, (layer, layout) in CASES.items()}
    print(json.dumps({"errors": found, "batch": batch_is_the_same()}))
