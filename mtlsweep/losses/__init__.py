"""Multi-task loss strategies, one file each, named as its YAML file in `conf/loss/`. Knows nothing of models, data or engines."""

from mtlsweep.losses.base import GramStrategy, ScalarStrategy

__all__ = ["GramStrategy", "ScalarStrategy"]
