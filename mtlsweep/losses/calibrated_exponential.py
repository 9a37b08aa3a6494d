"""Calibrated coarse x exponential decay (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy


class CalibratedExponential(ScalarStrategy):
    """`L_f + (floor + span e^{-rate t}) r L_c`, r the mean of L_f / L_c over the first steps, at least 1; t = epoch / total_epochs.

    Published best on ResNet-20, ResNet-56 and VGG-16-BN: 68.71, 72.70 and 74.01 %.

    Cost: 1 forward, 1 backward pass. State: the sum of the ratios, number of steps in it. A constant factor on the coarse loss cancels
    while r is above 1, i.e. while the coarse loss is the smaller one; a fade does not.

    Limits: a coarse loss of 0 has ratio 1.

    The entry's code was not at hand: this is its published formula. Not verifiable: what r is during calibration; here the mean so far.

    Args:
        floor, span, rate: 0.08, 0.62 and 3 as published.
        calibration_steps: at least 1; 50 as published.

    Raises:
        ValueError: `calibration_steps` is below 1.
    """

    ratio_sum: torch.Tensor
    steps: torch.Tensor

    def __init__(self, floor: float = 0.08, span: float = 0.62, rate: float = 3.0, calibration_steps: int = 50) -> None:
        super().__init__()
        if calibration_steps < 1:
            raise ValueError(f"calibration_steps must be at least 1, got {calibration_steps}")
        self.floor, self.span, self.rate, self.calibration_steps = floor, span, rate, calibration_steps
        self.register_buffer("ratio_sum", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(()))

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return self.floor + self.span * math.exp(-self.rate * epoch / total_epochs)

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        calibrating = self.steps < self.calibration_steps
        # A coarse loss that a curriculum has faded to 0 has no ratio; 1 is the least that r can be.
        ratio = torch.nan_to_num(fine_loss.detach() / coarse_loss.detach(), nan=1.0, posinf=1.0)
        self.ratio_sum.add_(torch.where(calibrating, ratio, 0.0))
        self.steps.add_(calibrating)
        scale = (self.ratio_sum / self.steps).clamp_min(1.0)
        return fine_loss + self.current_fade(epoch, total_epochs) * scale * coarse_loss
