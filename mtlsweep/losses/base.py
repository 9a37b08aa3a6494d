"""What a strategy is: one of three kinds, which the base class tells.

All are `nn.Module`s. Their parameters join the network's optimizer, at its learning rate and weight decay, as the benchmark has it; their
buffers and plain attributes are saved in the checkpoint. The coarse loss that a strategy sees is already scaled by the curriculum.

Optional methods, of any kind:

- `on_epoch_end(mean_losses)`: after every epoch, with the means of the two losses as the strategy saw them, `(2,)`.
- `after_step(losses)`: after every optimizer step, with the two losses of the same mini-batch under the new weights, `(2,)`, detached;
  one more forward pass, which leaves BatchNorm's statistics alone.
"""

from collections.abc import Hashable
from typing import ClassVar

import torch
from torch import nn

# What the heads receive: each the gradient of its own loss as it is, or times the loss's weight, as a scalar strategy's heads do.
HEADS = ("own", "weighted")
# The length of the update: the strategy's own, or that of g1 + g2 or of g1 in the strategy's direction.
LENGTHS = ("own", "sum", "fine")
# What the gradients are of: the trunk's parameters; the trunk's output; every parameter that the fine loss reaches; of these what the
# benchmark's walk over the loss's graph finds.
SCOPES = ("trunk", "representation", "fine_path", "walked")
# Those that combine parameters of the fine head, too, from this one on (weight, bias), and leave the coarse head as it was drawn.
FINE_PATHS = {"fine_path": 0, "walked": 1}

# Attributes of a strategy that the engine sets at every epoch's start; no checkpoint has them.
OF_THE_ENGINE = ("generator", "_held")


class Strategy(nn.Module):
    """What the three kinds share.

    Attributes:
        generator: what random numbers are drawn from (`torch.randn(..., generator=self.generator)`), on the device of the losses. The
            engine gives one to each run and seeds it anew at every epoch's start; None is torch's own generator.
        scale_invariant: whether the direction of the trunk's update is the same whatever positive number the coarse loss is multiplied by,
            another one in every step too. A curriculum does not turn it before it is exactly 0; it may change the length, and a head that
            receives its own gradient learns more slowly.
        capturable: whether a step neither reads a value from the device nor depends on Python state, so that a CUDA graph can replay it.
    """

    generator: torch.Generator | None = None
    scale_invariant: bool = False
    capturable: bool = True
    _held: tuple[int, int, torch.Tensor] | None = None

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """The number that a step takes of its epoch, by way of `current_fade`; 1 where it takes none."""
        return 1.0

    def warm_up(self) -> int:
        """Number of epochs at a run's start in which every step is another strategy's: of a run that has no more, nothing is its own."""
        return 0

    def branch(self, epoch: int, total_epochs: int) -> Hashable:
        """Whatever else a step takes of its epoch: one that is recorded as a CUDA graph serves the epochs in which this is the same."""
        return None

    def begin_epoch(self, epoch: int, total_epochs: int, device: torch.device) -> None:
        """Called by the engine: for this epoch `current_fade` is in the device's memory, at the same place in every epoch."""
        held = self._held[2] if self._held else torch.ones((), device=device)
        self._held = (epoch, total_epochs, held.fill_(self.fade_at(epoch, total_epochs)))

    def current_fade(self, epoch: int, total_epochs: int) -> float | torch.Tensor:
        """`fade_at`; in a run of the engine as a scalar on the device, for a recorded step to find another one in another epoch."""
        if self._held and self._held[:2] == (epoch, total_epochs):
            return self._held[2]
        return self.fade_at(epoch, total_epochs)


class ScalarStrategy(Strategy):
    """Combines the two losses into one: the benchmark's own interface. One forward, one backward pass."""

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        """The scalar to minimise.

        Args:
            fine_loss, coarse_loss: scalar tensors, mean cross-entropies of the mini-batch.
            epoch: 0-indexed.
            total_epochs: length of the run.
        """
        raise NotImplementedError


class _OfGradients(Strategy):
    """The options that every strategy which combines gradients has; the engine carries them out.

    Args:
        heads: what each head receives: "own", the gradient of its loss, or "weighted", that times the weight of the loss.
        length: of the update, of the trunk or, with that scope, of its output: "own", the strategy's; "sum", that of g1 + g2; "fine", that
            of g1. The direction is the strategy's in any case. Strategies that share a direction differ at "own" in nothing but the
            learning rate.
        scope: what the gradients are of: "trunk", all its parameters, two backward passes; "representation", its output, one backward pass
            and another algorithm; "fine_path", the parameters that the fine loss reaches (trunk and fine head), and the coarse head is
            never trained; "walked", these less the fine head's weight, which is never trained either (see `PCGrad`).
        refresh: steps between two computations of the weights, at least 1; the steps between reuse them and make one backward pass. An
            epoch's first step always computes them.

    Raises:
        ValueError: an option is none of these.
    """

    scopes: ClassVar[tuple[str, ...]] = SCOPES
    can_hold: ClassVar[bool] = True  # weights, for `refresh`

    def __init__(self, heads: str = "own", length: str = "own", scope: str = "trunk", refresh: int = 1) -> None:
        super().__init__()
        for name, value, choices in (("heads", heads, HEADS), ("length", length, LENGTHS), ("scope", scope, self.scopes)):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value}")
        if refresh < 1 or (refresh > 1 and not self.can_hold):
            raise ValueError(f"refresh must be {'at least 1' if self.can_hold else '1'}, got {refresh}")
        if scope in FINE_PATHS and heads != "own":
            raise ValueError(f"scope={scope} has the fine head among what is combined, and the coarse one gets nothing: heads must be own")
        self.heads = heads
        self.length = length
        self.scope = scope
        self.refresh = refresh


class GramStrategy(_OfGradients):
    """Weighs the two gradients of the trunk by what their Gram matrix says. One forward, two backward passes.

    The trunk receives `w1 g1 + w2 g2`; each head receives the gradient of its own loss, unweighted, unless the options say otherwise.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        """The weights of the fine and the coarse trunk gradient, `(2,)`.

        Args:
            gram: `[[g1.g1, g1.g2], [g1.g2, g2.g2]]` of the fine (1) and coarse (2) gradient, `(2, 2)`, detached.
            losses: fine and coarse loss of the mini-batch, `(2,)`, detached.
            epoch: 0-indexed.
            total_epochs: length of the run.
        """
        raise NotImplementedError


class GradientStrategy(_OfGradients):
    """Combines the two gradients of the trunk in a way that needs more than their Gram matrix. One forward, two backward passes.

    The heads are as a `GramStrategy`'s. The gradients are always the trunk's, and combined in every step.
    """

    scopes = ("trunk",)
    can_hold = False

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The update of the trunk, `(P,)`, and the effective weights of the two losses in it, `(2,)`.

        Args:
            fine_grad, coarse_grad: all of the trunk's gradients in one vector each, `(P,)`, detached. P is the same in every step.
            losses: fine and coarse loss of the mini-batch, `(2,)`, detached.
            epoch: 0-indexed.
            total_epochs: length of the run.
        """
        raise NotImplementedError

    def vectors(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """The buffer of this name, registered as None: `(2, P)` for gradients `like` this one, `(P,)`; zeros at the first step."""
        if getattr(self, name) is None:
            setattr(self, name, like.new_zeros(2, len(like)))
        found: torch.Tensor = getattr(self, name)
        return found
