"""Convolutions of small images and two gradients at once, on any device; and what they are in double precision."""

import torch
from torch.nn.functional import conv2d

from mtlsweep.train.kernels import few_places

# Images `(B, C, H, W)`, weights, and what arrives at the results, `(2 B, O, H, W)`.
Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def drawn(inputs: int, outputs: int, size: int, count: int, precision: torch.dtype, device: torch.device) -> Drawn:
    """Random numbers, channels last."""
    random = torch.Generator(device).manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=random).to(precision).contiguous(memory_format=torch.channels_last)

    return numbers(count, inputs, size, size), numbers(outputs, inputs, 3, 3), numbers(2 * count, outputs, size, size)


def executed(images: torch.Tensor, weights: torch.Tensor, arrives: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the kernels make of them. Rows of the weights' gradients are apart."""
    outputs, inputs = weights.shape[:2]
    vectors = torch.empty(2, weights.numel() + 16, device=images.device)[:, :-16]
    few_places.weight_gradient(images, arrives, vectors)
    of_weights = vectors.view(2, outputs, 3, 3, inputs).permute(0, 1, 4, 2, 3)
    return {
        "convolution": few_places.convolve(images, weights),
        "images": few_places.input_gradient(arrives, weights),
        "weights": of_weights,
    }


def expected(images: torch.Tensor, weights: torch.Tensor, arrives: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same in double precision."""
    exact = [tensor.double().requires_grad_() for tensor in (images, weights)]
    result = conv2d(exact[0], exact[1], padding=1)
    both = [torch.autograd.grad(result, exact, one.double(), retain_graph=True) for one in arrives.split(len(images))]
    of_images, of_weights = zip(*both, strict=True)
    return {"convolution": result.detach(), "images": torch.cat(of_images), "weights": torch.stack(of_weights)}
