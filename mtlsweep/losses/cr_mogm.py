"""CR-MOGM (Zhou et al., "On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond", NeurIPS 2022)."""

import importlib
import inspect
from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy


class CRMOGM(GramStrategy):
    """A moving average over the steps of the weights of another strategy: `w <- memory w + (1 - memory) w_of_this_step`.

    The average starts at the first step's weights, as TorchJD's does; LibMTL has none. The paper lets `memory` rise as the learning rate
    falls; here it is constant. Paper and authors' code were not read; no arXiv number is known.

    Cost: 1 forward, 2 backward passes. State: the average, and the other strategy's. The coarse loss's scale matters as it does to the
    other strategy. Averaged weights need not suit the step's own gradients: non-conflict is not kept.

    Limits: the other strategy's. With one whose weights depend on the gradients' scale (nash_mtl, mgda_unit, fairgrad) a single step of
    tiny gradients dominates the average for about 1 / (1 - memory) steps.

    Args:
        of: name of the Gram strategy whose weights are averaged, with its own defaults. MGDA is the one whose bias the paper is about.
        memory: weight of the past, in [0, 1]. 0.9 in TorchJD.
    """

    average: torch.Tensor

    def __init__(self, of: str = "mgda", memory: float = 0.9, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= memory <= 1:
            raise ValueError(f"memory must be in [0, 1], got {memory}")
        self.memory = memory
        self.inner = _strategy(of)
        self.register_buffer("average", torch.full((2,), torch.nan, dtype=torch.float64))

    def warm_up(self) -> int:
        """See `Strategy`: the average is of the other strategy's."""
        return self.inner.warm_up()

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        new = self.inner.weights(gram, losses, epoch, total_epochs).double()
        self.average.copy_(torch.where(self.average.isnan(), new, torch.lerp(new, self.average, self.memory)))
        return self.average.to(gram.dtype, copy=True)

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Pass it on."""
        on_epoch_end: Any = getattr(self.inner, "on_epoch_end", None)
        if on_epoch_end:
            on_epoch_end(mean_losses)


def _strategy(name: str) -> GramStrategy:
    try:
        module = importlib.import_module(f"mtlsweep.losses.{name}")
    except ImportError as error:
        raise ValueError(f"of must be the name of a Gram strategy, got {name}") from error
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, GramStrategy) and found.__module__ == module.__name__ and found not in (CRMOGM, GramStrategy):
            return found()
    raise ValueError(f"of must be the name of a Gram strategy, got {name}")
