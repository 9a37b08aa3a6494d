"""GO4Align (Shen et al., "GO4Align: Group Optimization for Multi-Task Alignment", NeurIPS 2024, arXiv:2404.06486)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class GO4Align(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w_k = p_k (L_f + L_c) / L_k`; in every step first `p_k <- p_k e^{-step_size L_k}`, then p is made to sum to 1.

    w is held constant. p starts at (1/2, 1/2) and leans to the task whose losses have been smaller so far; with the default it takes some
    ten thousand steps to move, and until then this is `log_sum` times half the sum of the losses.

    Cost: 1 forward, 1 backward pass. State: log p. The coarse loss's scale matters, but only through p.

    Limits: a loss of exactly 0 has weight 0, and the other one p_k, which no longer changes the direction.

    The authors' code clusters the weights by k-means into groups and gives each task its group's mean. With two tasks there are two cases:
    two groups, which is this, and one, their trainer's default for three tasks, where both tasks have the same weight, as in `equal`.
    LibMTL and TorchJD have none.

    Not verified: the paper's text. Formula and default are those of the authors' code.

    Args:
        step_size: of p, at least 0. 0.0001, the authors' default.

    Raises:
        ValueError: `step_size` is below 0.
    """

    log_shares: torch.Tensor

    def __init__(self, step_size: float = 1e-4) -> None:
        super().__init__()
        if not step_size >= 0:
            raise ValueError(f"step_size must be at least 0, got {step_size}")
        self.step_size = step_size
        self.register_buffer("log_shares", torch.full((2,), 0.5).log())

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        now = losses.detach()
        # By the logarithm: a share that once underflowed could never grow again.
        self.log_shares.copy_(torch.log_softmax(self.log_shares - self.step_size * now, dim=0))
        weights = torch.where(now == 0, 0.0, self.log_shares.exp() * now.sum() / now)
        return (weights * losses).sum()
