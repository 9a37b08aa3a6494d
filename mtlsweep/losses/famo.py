"""FAMO (Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, arXiv:2306.03792)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import logarithms

# Adam's, as torch and the authors have them.
DECAYS = (0.9, 0.999)
EPSILON = 1e-8


class FAMO(ScalarStrategy):
    """Makes the logarithms of the losses fall at equal rates: `c sum_k z_k log L_k`, `z = softmax(w)`, `1 / c = sum_k z_k / L_k`.

    c and z are held constant, so the weights of the losses are `c z_k / L_k` and sum to 1. After every step w moves against
    `J delta + weight_decay w`, by Adam: J is the Jacobian of the softmax, delta_k = log L_k before minus log L_k after the step. The task
    whose loss has fallen less gains weight.

    Cost: 2 forward, 1 backward pass; the second forward pass evaluates the mini-batch under the new weights of the network. State: w, its
    Adam moments and step count, the losses before the step. The coarse loss's scale does not matter to the direction: a
    curriculum scales a loss before and after a step alike. The length is c, which goes to 0 with a loss that is faded: a smaller learning
    rate of everything, heads included.

    Limits: a loss of exactly 0 drops out; the other has weight 1 at once. Then delta is 0 for the first.

    The lower bounds b_k of the losses, L_k - b_k in the paper, are 0, the authors' default: a cross-entropy's bound. Authors, LibMTL and
    TorchJD add 1e-8 to every loss; here nothing is added, so that no scale is special. The authors' stand-alone class also clips the
    trunk's gradient to length 1, and their second forward pass updates BatchNorm's statistics; here neither.

    Not verified: the paper's own `weight_decay` (0.001 according to TorchJD).

    Args:
        learning_rate: of w, above 0; 0.025, the default of the authors, LibMTL and TorchJD.
        weight_decay: of w, at least 0; pulls z to (1/2, 1/2). 0.001, the default of LibMTL and TorchJD and the authors' setting for QM9.
            The authors also have 0.01 (for CelebA, and in their stand-alone class) and 1e-5 (in the class of their experiments).

    Raises:
        ValueError: an argument is out of its range.
    """

    scale_invariant = True

    logits: torch.Tensor
    before: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    steps: torch.Tensor

    def __init__(self, learning_rate: float = 0.025, weight_decay: float = 1e-3) -> None:
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {learning_rate}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        # Buffers, not parameters: the network's optimizer must leave them alone. torch.optim.Adam would not follow a move to a device.
        for name in ("logits", "before", "mean", "square"):
            self.register_buffer(name, torch.zeros(2))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        now = losses.detach()
        self.before.copy_(now)
        shares = torch.softmax(self.logits, dim=0)
        total = torch.where(now == 0, 0.0, shares / now).sum()
        # Only where both losses are 0 is there nothing to divide by, and nothing to learn.
        scale = 1 / total.clamp_min(torch.finfo(total.dtype).tiny)
        return (scale * shares * logarithms(losses)).sum()

    def after_step(self, losses: torch.Tensor) -> None:
        """Compare the losses under the network's new weights, `(2,)`, with those before the step."""
        fallen = torch.where((self.before == 0) | (losses == 0), 0.0, logarithms(self.before) - logarithms(losses))
        shares = torch.softmax(self.logits, dim=0)
        self._adam_step(shares * (fallen - (shares * fallen).sum()) + self.weight_decay * self.logits)

    def _adam_step(self, gradient: torch.Tensor) -> None:
        self.steps.add_(1)
        corrected = []
        for moment, value, decay in ((self.mean, gradient, DECAYS[0]), (self.square, gradient.square(), DECAYS[1])):
            moment.lerp_(value.to(moment.dtype), 1 - decay)
            corrected.append(moment / -torch.expm1(math.log(decay) * self.steps))
        self.logits.sub_(self.learning_rate * corrected[0] / (corrected[1].sqrt() + EPSILON))
