"""Prints, as JSON, how far the Triton kernels' results are from torch's: run with TRITON_INTERPRET=1, on a CPU, in fp32, for Triton's
interpreter cannot multiply bf16."""

import json

import torch
from torch.nn.functional import conv2d

from mtlsweep.train import few_channels

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


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


if __name__ == "__main__":
    few_channels.TILES_BY_CHANNELS.clear()
    for kind, rows in (("convolve", "BLOCK_M"), ("input_gradient", "BLOCK_M"), ("weight_gradient", "CHUNK")):
        few_channels.TILES[kind][rows] = 64
    print(json.dumps({name: errors(*layer, layout) for name, (layer, layout) in CASES.items()}))
