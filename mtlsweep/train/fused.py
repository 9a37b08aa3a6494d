"""A model in training by kernels of our own: which models, and whether they work where they are."""

import torch

from mtlsweep.models import TwoHeads
from mtlsweep.train import fused_heads, fused_trunk
from mtlsweep.train.compilation import untouched
from mtlsweep.train.network import Batch, Fused, Network

# How far a gradient may be from that of torch's operations in bf16, relative to its length: two such gradients of one ResNet-56 with its
# first weights, one in fp32, are 0.3 apart (16 images; ResNet-20: 0.14). This finds what is wrong altogether, no more.
TOLERANCE = 0.6


def fits(model: TwoHeads) -> bool:
    """Whether the kernels do all that this model's heads do."""
    heads = (model.fine_head, model.coarse_head)
    plain = all(type(head) is torch.nn.Linear and head.bias is not None for head in heads)
    return plain and heads[0].in_features % fused_heads.MULTIPLE == 0 and not _hooked(model.fine_head, model.coarse_head)


def fits_wholly(model: TwoHeads) -> bool:
    """Whether they do all that its trunk does, too."""
    return fits(model) and fused_trunk.fits(model.trunk) and not _hooked(model)


def fuse(model: TwoHeads, precision: torch.dtype) -> Fused:
    """The kernels for as much as fits of a model whose heads fit.

    Args:
        model: on its device, channels last; it stays what it is.
        precision: of activations.
    """
    trunk = fused_trunk.FusedTrunk(model.trunk, precision) if fits_wholly(model) else None
    return Fused(trunk, fused_heads.FusedHeads(model))


def _hooked(*modules: torch.nn.Module) -> bool:
    """Whether something is called with them that would not be any more."""
    return any(part._forward_hooks or part._forward_pre_hooks for module in modules for part in module.modules())


def try_out(network: Network, fused: Fused, batch: Batch) -> None:
    """Compile the kernels and compare a step's gradients with torch's. The model is left as it is.

    Args:
        network: without them.
        fused: those of its model.
        batch: some images and labels.

    Raises:
        Exception: of many types, where there is no Triton, a kernel does not suit the GPU, or the gradients are others.
    """
    fast = Network(network.model, network.autocast, fused=fused)
    with untouched(network.model):
        expected, found, again = (_gradient(one, batch) for one in (network, fast, fast))
        network.model.eval()
        with torch.no_grad():
            features, inferred = (one.features(batch.images).float() for one in (network, fast))
    _compare("a gradient", found, expected)
    _compare("the features in evaluation", inferred, features)
    if not found.equal(again):
        raise RuntimeError("the same gradient twice is not the same")


def _compare(what: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    apart = ((found - expected).norm() / expected.norm()).item()
    if not apart < TOLERANCE:
        raise RuntimeError(f"{what}: {apart:.2g} of its length from torch's")


def _gradient(network: Network, batch: Batch) -> torch.Tensor:
    losses = network.losses(network.features(batch.images), batch)
    gradients = torch.autograd.grad(losses.fine + losses.coarse, list(network.model.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])
