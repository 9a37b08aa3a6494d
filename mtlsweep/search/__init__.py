"""A search in place of a grid, with Optuna: which values are tried, and which have been. Importing it loads Optuna."""

from mtlsweep.search.options import Options, parse
from mtlsweep.search.sampler import make_sampler
from mtlsweep.search.search import Search
from mtlsweep.search.space import Measured, Params, Space
from mtlsweep.search.study import open_study

__all__ = ["Measured", "Options", "Params", "Search", "Space", "make_sampler", "open_study", "parse"]
