"""The recipe's optimizer, and it in a form whose steps a CUDA graph can repeat."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.sgd import sgd

# torch's fused SGD gives a block of threads up to 65,536 numbers, which it goes through one after another: a ResNet's larger layers are
# a block each, for which the rest of the GPU waits. What is larger torch cuts up itself; smaller pieces of it would be many more launches.
PIECE, CUT_BY_TORCH = 8192, 65536


class SGD(torch.optim.SGD):
    """torch's SGD without the decorators that tell torch's compiler to leave its methods alone.

    They load the compiler for it, a quarter of the time that a process which compiles nothing needs to its first step. What we compile has
    no optimizer in it.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    state_dict = inspect.unwrap(torch.optim.SGD.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.SGD.load_state_dict)


class RecordableSGD(SGD):
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
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            known = {parameter: parameter.grad for parameter in group["params"] if parameter.grad is not None}
            for parameter, gradient in known.items():
                if gradient.stride() != parameter.stride():
                    known[parameter] = parameter.grad = torch.empty_like(parameter).copy_(gradient)
            momenta = [self.state[parameter]["momentum_buffer"] for parameter in known]
            options = {name: group[name] for name in ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")}
            sgd(pieces(known), pieces(known.values()), [*pieces(momenta)], fused=True, **options)
        return loss

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


def pieces(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Views of all numbers of dense tensors in the order in which they lie: of at most `PIECE` each, but whole what torch cuts up."""
    views: list[torch.Tensor] = []
    for tensor in tensors:
        size = PIECE if PIECE < tensor.numel() <= CUT_BY_TORCH else tensor.numel()
        views += tensor.as_strided((tensor.numel(),), (1,)).split(size)
    return views


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Of the steps to come, those that were recorded included."""
    if isinstance(optimizer, RecordableSGD):
        optimizer.rate.fill_(lr)
        return
    for group in optimizer.param_groups:
        group["lr"] = lr
