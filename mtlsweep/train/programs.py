"""Which step program a strategy is trained by."""

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
