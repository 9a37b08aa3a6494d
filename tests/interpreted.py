"""Prints, as JSON, how far the Triton kernels' results are from torch's: run with TRITON_INTERPRET=1, on a CPU, in fp32, for Triton's
interpreter cannot multiply bf16. A launch's programs are executed in an order drawn for it, for a GPU has none."""

import json
from copy import deepcopy
from random import Random

import fused_window
import small_images
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy
from triton.runtime.interpreter import interpreter_builder

from mtlsweep.data import Augmentation, normalize
from mtlsweep.data.dataset import Split
from mtlsweep.models import TwoHeads, resnet
from mtlsweep.train.fused_stack import FusedStack
from mtlsweep.train.fused_trunk import FusedTrunk
from mtlsweep.train.kernels import few_channels, few_places, fused_forward, norm_relu_pool, two_losses
from mtlsweep.train.kernels.crop_flip import crop_flip
from mtlsweep.train.two_gradients import flat

# Every kind of layer there is, by its channels, size and stride: an image's three channels or more, as many or more of them, whole or half
# the size; pixels that are no whole number of tiles, and that are one of a program's share of them.
LAYERS = [(3, 16, 8, 1), (16, 16, 4, 1), (16, 16, 7, 1), (16, 32, 8, 2), (32, 32, 16, 1), (64, 64, 4, 1), (32, 64, 7, 2)]
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


def stack() -> TwoHeads:
    """A network like VGG with every kind of layer: the first one and one behind it, each with a pool and one without."""

    def layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

    layers = [*layer(3, 64), nn.MaxPool2d(2), *layer(64, 128), *layer(128, 128), nn.MaxPool2d(2)]
    return TwoHeads(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 128)


def places_errors(size: int, count: int) -> dict[str, float]:
    """Of the convolutions of small images."""
    drawn = small_images.drawn(128, 256, size, count, torch.float32, torch.device("cpu"))
    found = zip(small_images.executed(*drawn).items(), small_images.expected(*drawn).values(), strict=True)
    return {name: _error(one, value) for (name, one), value in found}


def trunk_errors(model: TwoHeads, kind: type[FusedTrunk | FusedStack], size: int) -> dict[str, float]:
    """Of a network's features in training, its gradients, its running statistics, and its features in evaluation."""
    torch.manual_seed(0)
    model = model.to(memory_format=torch.channels_last)
    for parameter in model.trunk.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    exact, trunk = deepcopy(model).double(), kind(model.trunk, torch.float32)
    images = torch.randn(3, 3, size, size).to(memory_format=torch.channels_last)
    found, expected = trunk(images), exact.trunk(images.double())
    arrives = torch.randn(found.shape)
    errors = {"features": _error(found, expected)}
    kept = deepcopy(model.trunk.state_dict())
    for _ in range(2):  # as gradient strategies do, and the second time is as good as the first
        found.backward(arrives, retain_graph=True)
    at_once = trunk.pass_through(images)[1](torch.stack([arrives, -3 * arrives]))
    model.trunk.load_state_dict(kept)  # whose statistics moved a second time
    expected.backward(2 * arrives.double(), retain_graph=True)
    wanted = flat(torch.autograd.grad(expected, list(exact.trunk.parameters()), arrives.double()), list(exact.trunk.parameters()))
    errors |= {"first at once": _error(at_once[0], wanted), "second at once": _error(at_once[1], -3 * wanted)}
    for (name, one), other in zip(model.trunk.named_parameters(), exact.trunk.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        errors[name] = _error(one.grad, other.grad)
    running = ((name, one, other) for (name, one), other in zip(model.trunk.named_buffers(), exact.trunk.buffers(), strict=True))
    errors |= {name: _error(one, other) for name, one, other in running if one.is_floating_point()}
    with torch.no_grad():
        errors["inferred"] = _error(trunk.infer(images), exact.eval().trunk(images.double()))
    before = [buffer.clone() for buffer in model.trunk.buffers()]
    again = trunk.features_again(images)
    errors["again"] = float(not again.equal(found))
    errors["moved again"] = float(not all(one.equal(other) for one, other in zip(model.trunk.buffers(), before, strict=True)))
    with torch.no_grad():
        trunk.layers[0].convolution.weight.add_(1.0)
    try:
        found.backward(arrives)
        errors["changed parameters"] = 1.0
    except RuntimeError:
        errors["changed parameters"] = 0.0
    return errors | {"tickets": float(trunk.ticket.sum())}


def window_errors(window: int) -> dict[str, float]:
    """Of what lies between two convolutions. Values have steps, by which many are alike in a window."""
    found = fused_window.executed(64, 6, window, 3, torch.float32, torch.device("cpu"))
    expected = fused_window.expected(found, window)
    return {name: _error(found[name], value) for name, (value, _) in expected.items() if name != "ticket"} | {
        "ticket": float(found["ticket"].sum())
    }


def heads_errors(images: int, features: int, classes: tuple[int, int]) -> dict[str, float]:
    """Of both losses and the number that is right, and of all gradients."""
    torch.manual_seed(0)
    given = torch.randn(images, features)
    layers = [nn.Linear(features, number) for number in classes]
    labels = [torch.randint(number, (images,)) for number in classes]
    first, second = (two_losses.Head(layer.weight.detach(), layer.bias.detach(), of) for layer, of in zip(layers, labels, strict=True))
    ticket = torch.zeros(1, dtype=torch.int32)
    *found, slopes = two_losses.losses(given, (first, second), ticket)
    arrives = torch.tensor(0.7), torch.tensor(-1.3)
    exact = given.double().requires_grad_()
    logits = [layer.double()(exact) for layer in layers]
    expected = [cross_entropy(values, of) for values, of in zip(logits, labels, strict=True)]
    right = (logits[0].argmax(1) == labels[0]).sum().double()
    gradients = two_losses.gradients(given, (first, second), slopes, arrives)
    wanted = torch.autograd.grad(
        arrives[0] * expected[0] + arrives[1] * expected[1], [exact, *(p for layer in layers for p in layer.parameters())]
    )
    values = {f"value {i}": (one - other).abs().item() for i, (one, other) in enumerate(zip(found, [*expected, right], strict=True))}
    of_gradients = {f"gradient {i}": _error(one, other) for i, (one, other) in enumerate(zip(gradients, wanted, strict=True))}
    return values | of_gradients | {"ticket": float(ticket)}


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


def shuffle_programs() -> None:
    """Let the interpreter execute a launch's programs in another order than that of their numbers."""
    random, orders = Random(0), list[list[int]]()
    begin, choose = interpreter_builder.set_grid_dim, interpreter_builder.set_grid_idx

    def set_grid_dim(*sizes: int) -> None:
        orders[:] = [random.sample(range(size), size) for size in sizes]
        begin(*sizes)

    def set_grid_idx(*place: int) -> None:
        choose(*(order[number] for order, number in zip(orders, place, strict=True)))

    interpreter_builder.set_grid_dim, interpreter_builder.set_grid_idx = set_grid_dim, set_grid_idx


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


if __name__ == "__main__":
    shuffle_programs()
    few_channels.TILES_BY_CHANNELS.clear()
    for kind, rows in (("convolve", "BLOCK_M"), ("input_gradient", "BLOCK_M"), ("weight_gradient", "CHUNK")):
        few_channels.TILES[kind][rows] = 64
    found = {name: errors(*layer, layout) for name, (layer, layout) in CASES.items()}
    fused_forward.OF_PARTS = 64  # so that there are several rounds of them
    norm_relu_pool.PIXELS = 16
    few_places.WEIGHTS |= {"BLOCK_B": 16, "BLOCK_C": 128}
    for tiles in few_places.TILES.values():
        tiles |= {"BLOCK_B": 16, "BLOCK_N": 128, "BLOCK_K": 64}
    heads = [heads_errors(*sizes) for sizes in ((40, 64, (100, 20)), (16, 128, (10, 4)), (1, 64, (4, 2)))]
    trunks = [trunk_errors(resnet(8), FusedTrunk, 7), trunk_errors(stack(), FusedStack, 4)]
    windows = [window_errors(window) for window in (1, 2)]
    places = [places_errors(*sizes) for sizes in ((2, 20), (3, 3))]
    print(
        json.dumps({"errors": found, "batch": batch_is_the_same(), "trunks": trunks, "windows": windows, "places": places, "heads": heads})
    )
