"""A model in training by kernels of our own: which models, and whether they work where they are."""

import torch

from mtlsweep.models import TwoHeads
from mtlsweep.train import fused_heads, fused_stack, fused_trunk, host_trunk
from mtlsweep.train.compilation import untouched
from mtlsweep.train.network import Batch, Fused, Network
from mtlsweep.train.trunk import Trunk

# How far a gradient may be from that of torch's operations in bf16, relative to its length. Where roundings differ, those of 16 images and
# first weights are 0.14 apart in ResNet-20, 0.25 to 0.48 in ResNet-56 and 0.40 to 0.64 in ResNet-110; two that have nothing to do with each
# other 1.4. This finds what is wrong altogether, no more.
TOLERANCE = 1.0


def fits(model: TwoHeads) -> bool:
    """Whether the kernels do all that this model's heads do."""
    heads = (model.fine_head, model.coarse_head)
    plain = all(type(head) is torch.nn.Linear and head.bias is not None for head in heads)
    return plain and heads[0].in_features % fused_heads.MULTIPLE == 0 and not _hooked(model.fine_head, model.coarse_head)


def fits_wholly(model: TwoHeads, compiled: bool = False) -> bool:
    """Whether they do all that its trunk does, too. A VGG's is left to torch's compiler where there is one: which is faster has not been
    measured."""
    trunk = model.trunk
    return fits(model) and (fused_trunk.fits(trunk) or (not compiled and fused_stack.fits(trunk))) and not _hooked(model)


def fuse_on_host(model: TwoHeads, precision: torch.dtype) -> Fused | None:
    """The kernels for a model on a processor, channels last, if its trunk's layers are such as they can do. Its heads stay as they are, and
    so does the model. Arguments as of `fuse`."""
    fits = host_trunk.fits(model.trunk) and not _hooked(model)
    return Fused(host_trunk.HostTrunk(model.trunk, precision), None) if fits else None


def fuse(model: TwoHeads, precision: torch.dtype, layers: bool, heads: bool = True, compiled: bool = False) -> Fused | None:
    """The kernels for a model whose heads fit; None where none are wanted that fit.

    Args:
        model: on its device, channels last; it stays what it is.
        precision: of activations.
        layers: whether the trunk's are wanted too, if they fit.
        heads: whether the heads' are. They are one operation for both losses, which hides which parameters each depends on.
        compiled: whether what is left is going to be compiled.
    """
    trunk = _trunk(model.trunk, precision) if layers and fits_wholly(model, compiled) else None
    return Fused(trunk, fused_heads.FusedHeads(model) if heads else None) if trunk or heads else None


def _trunk(trunk: torch.nn.Module, precision: torch.dtype) -> Trunk:
    kind = fused_trunk.FusedTrunk if fused_trunk.fits(trunk) else fused_stack.FusedStack
    return kind(trunk, precision)


def _hooked(*modules: torch.nn.Module) -> bool:
    """Whether something is called with them that would not be any more."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, name) for module in modules for part in module.modules() for name in hooks)


def try_out(network: Network, fused: Fused, batch: Batch) -> None:
    """Compile the kernels and compare a step's gradients with torch's. The model is left as it is.

    Args:
        network: without them, and without any other kernels of our own.
        fused: those of its model.
        batch: some images and labels.

    Raises:
        Exception: of many types, where there is no Triton, a kernel does not suit the GPU, or the gradients are others.
    """
    fast = Network(network.model, network.autocast, fused=fused)
    with untouched(network.model):
        with torch.no_grad():
            features = None if fused.trunk else network.features(batch.images)  # the same ones for all: a trunk may draw
        expected, found, again = (_gradient(one, batch, features) for one in (network, fast, fast))
        _compare("a gradient", found, expected)
        if not found.equal(again):
            raise RuntimeError("the same gradient twice is not the same")
        if fused.trunk:
            network.model.eval()
            with torch.no_grad():
                _compare("the features in evaluation", *(one.features(batch.images).float() for one in (fast, network)))


def _compare(what: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    apart = ((found - expected).norm() / expected.norm()).item()
    if not apart < TOLERANCE:
        raise RuntimeError(f"{what}: {apart:.2g} of its length from torch's")


def _gradient(network: Network, batch: Batch, features: torch.Tensor | None) -> torch.Tensor:
    """Of the sum of the losses: of all parameters, or of the heads' and of given features."""
    output = network.features(batch.images) if features is None else features.detach().requires_grad_()
    losses = network.losses(output, batch)
    trained = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(losses.fine + losses.coarse, [output, *trained], allow_unused=True)
    return torch.cat([gradient.flatten().float() for gradient in gradients if gradient is not None])
