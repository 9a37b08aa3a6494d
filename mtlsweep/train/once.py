"""Backward passes that have no derivatives themselves."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """The `backward` of an autograd function made of kernels.

    torch's own `once_differentiable` does not tell of `create_graph=True` where what arrives is a constant, as at a loss: the gradient
    would be one too, and a penalty on it nothing.

    Raises:
        RuntimeError: a derivative of the gradient may be asked for.
    """

    @wraps(backward)
    def checked(ctx: Any, *arrives: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("fused layers have no second derivatives: engine.fused=false has them")
        return backward(ctx, *arrives)

    return checked
