"""The recipe's optimizer, in a form whose steps a CUDA graph can repeat."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class RecordableSGD(torch.optim.SGD):
    """torch's fused SGD; all that it reads and writes lies in the device's memory from the start, and stays where it lies.

    The learning rate is a float32 number there. Momentum begins at 0, which gives the first step of the plain SGD; torch's own begins with
    a parameter's first gradient, and its fused form fails where some get theirs later than others. What is saved of it is the plain SGD's,
    and either loads the other's.

    Args:
        parameters: all on one device.
        lr, momentum, weight_decay: as of `torch.optim.SGD`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        parameters = list(parameters)
        self.rate = torch.full((), lr, dtype=torch.float32, device=parameters[0].device)
        super().__init__(parameters, lr=self.rate, momentum=momentum, weight_decay=weight_decay, fused=True)
        self._complete()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step. Gradients get their parameters' memory layout, in which alone the fused form takes them."""
        for parameter in self._parameters():
            if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
        return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        """As the plain SGD's."""
        state = super().state_dict()
        for group in state["param_groups"]:
            group.update(lr=float(group["lr"]), fused=False)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From either form's; before anything is recorded."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            self.rate.fill_(group["lr"])
            group.update(lr=self.rate, fused=True)
        self._complete()

    def _complete(self) -> None:
        for parameter in self._parameters():
            buffer = torch.zeros_like(parameter, requires_grad=False)
            given = self.state[parameter].get("momentum_buffer")
            self.state[parameter]["momentum_buffer"] = buffer if given is None else buffer.copy_(given)

    def _parameters(self) -> Iterable[nn.Parameter]:
        return (parameter for group in self.param_groups for parameter in group["params"])


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Of the steps to come, those that were recorded included."""
    if isinstance(optimizer, RecordableSGD):
        optimizer.rate.fill_(lr)
        return
    for group in optimizer.param_groups:
        group["lr"] = lr
