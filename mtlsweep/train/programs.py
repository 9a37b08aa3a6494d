"""Which step program a strategy is trained by, and which passes through the trunk that makes."""

from torch import nn

from mtlsweep.losses import GradientStrategy, GramStrategy
from mtlsweep.train.gradient_steps import CombineStep, GramStep
from mtlsweep.train.network import Network
from mtlsweep.train.steps import ScalarStep, Step


def step_program(network: Network, strategy: nn.Module) -> Step:
    """The step program of a strategy's kind."""
    if isinstance(strategy, GramStrategy):
        return GramStep(network, strategy)
    if isinstance(strategy, GradientStrategy):
        return CombineStep(network, strategy)
    return ScalarStep(network, strategy)


def backward_passes(strategy: nn.Module) -> frozenset[int]:
    """How many backward passes through the trunk a strategy's steps make: 1, 2, or some 1 and some 2."""
    if isinstance(strategy, GramStrategy):
        exact = strategy.scope != "representation"
        return frozenset({2} if exact else {1}) | frozenset({1} if strategy.refresh > 1 else ())
    return frozenset({2} if isinstance(strategy, GradientStrategy) else {1})
