"""A training step of the same strategies in other libraries, as their documentation has it: eager, fp32, torch's own layout.

Their mini-batches lie ready on the device; ours are cropped, flipped and normalised within the step.
"""

import sys
import types
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import plain, subjects
from benchmarks.timing import Subject
from mtlsweep.models import TwoHeads

# c of CAGrad: the default of ours and of LibMTL.
RADIUS = 0.5

# What the last release of LibMTL on PyPI cannot do without.
RESTORED = "the name torchvision.models.utils, gone since torchvision 0.13, and gradients cleared to zero, which are None since torch 2.0"

# From a mini-batch (images and both labels) to the gradient of every parameter.
Gradients = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]


def torchjd(network: str, device: torch.device, batch: int, strategy: str, chunk: int | None) -> Subject:
    """Steps by `torchjd_step`."""
    return _subject(network, device, batch, lambda model: torchjd_step(model, strategy, chunk))


def libmtl(network: str, device: torch.device, batch: int, strategy: str) -> Subject:
    """Steps by `libmtl_step`."""
    return _subject(network, device, batch, lambda model: libmtl_step(model, strategy, device))


def torchjd_step(model: TwoHeads, strategy: str, chunk: int | None) -> Gradients:
    """TorchJD's `mtl_backward`.

    Args:
        model: on its device.
        strategy: "PCGrad" or "CAGrad".
        chunk: `parallel_chunk_size`; None is its default, both losses differentiated at once by vmap.
    """
    from torchjd.aggregation import CAGrad, PCGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    aggregator = PCGrad() if strategy == "PCGrad" else CAGrad(c=RADIUS)

    def gradients(images: torch.Tensor, fine: torch.Tensor, coarse: torch.Tensor) -> None:
        features = model.trunk(images)
        losses = [cross_entropy(model.fine_head(features), fine), cross_entropy(model.coarse_head(features), coarse)]
        mtl_backward(losses, features=features, parallel_chunk_size=chunk)
        jac_to_grad(model.trunk.parameters(), aggregator)

    return gradients


def libmtl_step(model: TwoHeads, strategy: str, device: torch.device) -> Gradients:
    """LibMTL's weighting `strategy`, "PCGrad" or "CAGrad", in its architecture with a shared encoder."""
    shared = _libmtl_model(model, strategy, device)

    def gradients(images: torch.Tensor, fine: torch.Tensor, coarse: torch.Tensor) -> None:
        logits = shared(images)
        shared.backward([cross_entropy(logits["fine"], fine), cross_entropy(logits["coarse"], coarse)], calpha=RADIUS, rescale=1)

    return gradients


class _Encoder(nn.Module):
    """A trunk whose gradients become zero, not None, when they are cleared: what torch did before 2.0, and LibMTL 1.1.5 relies on."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.trunk(images)

    def zero_grad(self, set_to_none: bool = False) -> None:
        super().zero_grad(set_to_none)


def _libmtl_model(model: TwoHeads, strategy: str, device: torch.device) -> Any:
    _restore_torchvision_name()
    weighting, architecture = (import_module(f"LibMTL.{name}") for name in ("weighting", "architecture"))
    # As LibMTL's own trainer makes its model: a class that is both.
    both = type("SharedTrunk", (architecture.HPS, getattr(weighting, strategy)), {})
    heads = nn.ModuleDict({"fine": model.fine_head, "coarse": model.coarse_head})
    shared = both(["fine", "coarse"], lambda: _Encoder(model.trunk), heads, rep_grad=False, multi_input=False, device=device)
    shared.init_param()
    return shared.to(device)


def _restore_torchvision_name() -> None:
    name = "torchvision.models.utils"
    if name not in sys.modules:
        module = types.ModuleType(name)
        vars(module)["load_state_dict_from_url"] = torch.hub.load_state_dict_from_url
        sys.modules[name] = module


def _subject(network: str, device: torch.device, batch: int, make: Callable[[TwoHeads], Gradients]) -> Subject:
    def prepare(steps: int) -> Callable[[], object]:
        whole = plain.tensors(subjects.dataset(steps * batch), device)
        batches = list(zip(*(tensor.split(batch) for tensor in whole), strict=True))
        model = subjects.network(network).to(device)
        gradients, optimizer = make(model), subjects.optimizer(model)

        def epoch() -> None:
            plain.as_torch_has_it()
            for images, fine, coarse in batches:
                optimizer.zero_grad()
                gradients(images, fine, coarse)
                optimizer.step()

        return epoch

    return Subject(prepare)
