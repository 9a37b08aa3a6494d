"""Loss strategies: one a file, named as its option in `conf/loss`."""

from mtlsweep.losses.base import GradientStrategy, GramStrategy, ScalarStrategy, Strategy

__all__ = ["GradientStrategy", "GramStrategy", "ScalarStrategy", "Strategy"]
