"""What differences between seeds allow to be said. Everything is computed by scipy, which is imported only when something is to be tested.

A difference is of two runs of one seed (a pair), which share initialisation and the order of the images; only that of `welch` is of runs
that share nothing. All tests are two-sided.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

LEVEL = 0.05
POWER = 0.8

# Up to so many pairs (three architectures x five seeds) all sign changes are tried; beyond, this many random ones, from a fixed seed.
MOST_EXACT_PAIRS = 15
RANDOM_CHANGES = 9_999

# Decimals of accuracies and of their differences that mean anything: one image of 10,000 is 0.01 points, and what is left of a subtraction
# of floats about 1e-14.
_DIGITS = 9

# No answer above this many seeds: nobody trains so many, and the search must end.
_MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, of accuracies or of paired differences, in their unit (percent, percentage points).

    Attributes:
        n: number of values.
        mean: of the values.
        sd: their sample standard deviation; None of one value.
        low, high: 95 % interval of the mean, from Student's t; None where the values show no spread (one value, or all of them equal).
        p: of the t test that the mean is 0; None as for the interval.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Spread:
    """The standard deviation that the paired differences of several strategies from one baseline have in common.

    Attributes:
        sd: in the unit of the differences.
        low, high: its 95 % interval, from the chi-square distribution.
        freedom: the degrees of freedom that it is worth.
    """

    sd: float
    low: float
    high: float
    freedom: float


@dataclass(frozen=True)
class Permutation:
    """A permutation test of paired differences.

    Attributes:
        n: number of pairs.
        mean: of the differences.
        p: share of the sign changes whose mean is at least as far from 0.
        smallest: the smallest p that so many pairs can give.
        exact: whether all sign changes were tried.
    """

    n: int
    mean: float
    p: float
    smallest: float
    exact: bool


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t interval of some values, at least one."""
    n, mean = len(values), float(sum(values) / len(values))
    if n == 1:
        return Estimate(n, mean)
    if max(values) - min(values) < 1e-9:  # rounding apart, equal; accuracies are multiples of one image
        return Estimate(n, mean, 0.0)
    from scipy import stats

    result = stats.ttest_1samp(values, 0.0)
    low, high = result.confidence_interval(1 - LEVEL)
    return Estimate(n, mean, float(stats.tstd(values)), float(low), float(high), float(result.pvalue))


def welch(values: Sequence[float], others: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the difference of two means, values less others, for unequal variances (Welch, Biometrika 34, 1947); None where
    either shows no spread (one value, or all of them equal)."""
    if estimate(values).low is None or estimate(others).low is None:
        return None
    from scipy import stats

    low, high = stats.ttest_ind(values, others, equal_var=False).confidence_interval(1 - LEVEL)
    return float(low), float(high)


def pooled(found: Sequence[Estimate]) -> Spread:
    """Of the differences of some strategies, each of at least two pairs, from one baseline: their variances averaged by their degrees of
    freedom n - 1. The median of their standard deviations is too small, for so is that of a few values, more often than not.

    All strategies share the baseline's runs. Where runs scatter alike, their differences correlate by 1/2 and their variances by 1/4:
    k strategies of n pairs are worth k (n - 1) / (1 + (k - 1) / 4) degrees of freedom. With k (n - 1) of them, the interval held the truth
    in 87 % of simulated studies of five strategies and three seeds, and in 62 % of those of twenty strategies.
    """
    from scipy import stats

    total = sum(one.n - 1 for one in found)
    sd = (sum((one.n - 1) * (one.sd or 0.0) ** 2 for one in found) / total) ** 0.5
    freedom = total / (1 + (len(found) - 1) / 4)
    low, high = ((freedom / stats.chi2.ppf(q, freedom)) ** 0.5 for q in (1 - LEVEL / 2, LEVEL / 2))
    return Spread(sd, float(low) * sd, float(high) * sd, freedom)


def permutation(differences: Sequence[float]) -> Permutation:
    """Whether paired differences, at least one, are centred on 0: under that hypothesis each could as well have had the other sign."""
    n, exact = len(differences), len(differences) <= MOST_EXACT_PAIRS
    if n == 1:  # both signs are equally far from 0, and scipy wants two
        return Permutation(n, differences[0], 1.0, smallest_p(n), exact)
    import numpy as np
    from scipy import stats

    # scipy's permutation_test makes the sign changes one by one, a hundred times slower; the p values are the same (see the tests).
    # Rounded, before and after, so that sign changes that come to the same are no further from 0 than each other.
    values, signs = np.round(np.asarray(differences, float), _DIGITS), _sign_changes(n)
    result = stats.monte_carlo_test(
        values,
        rvs=lambda size: signs * values,
        statistic=lambda sample, axis: np.round(np.mean(sample, axis=axis), _DIGITS),
        n_resamples=len(signs),
        vectorized=True,
    )
    return Permutation(n, float(sum(differences) / n), float(result.pvalue), smallest_p(n), exact)


@cache
def _sign_changes(n: int) -> Any:
    """Rows of n signs: all of them but that which changes nothing (the test adds it), or where they are too many, random ones."""
    import numpy as np

    if n > MOST_EXACT_PAIRS:
        return np.random.default_rng(0).choice([-1.0, 1.0], (RANDOM_CHANGES, n))
    return 1.0 - 2.0 * (np.arange(1, 2**n)[:, None] >> np.arange(n) & 1)


def smallest_p(pairs: int) -> float:
    """The smallest p that the permutation test of so many pairs can give: all differences of one sign, out of 2^n sign changes."""
    return 2 / 2**pairs if pairs <= MOST_EXACT_PAIRS else 2 / (RANDOM_CHANGES + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down method (Scand. J. Statist. 6, 1979), in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def power(difference: float, sd: float, n: int, level: float = LEVEL) -> float:
    """Probability that the paired t test of n seeds finds a true difference.

    Args:
        difference: the true mean of the paired differences.
        sd: their standard deviation, above 0.
        n: number of pairs, at least 2.
        level: of the test.
    """
    from scipy import stats

    # The square of t is F, whose non-central form takes both tails at once and, unlike nct in scipy 1.17, has no undefined values.
    critical = stats.t.ppf(1 - level / 2, n - 1)
    return float(stats.ncf.sf(critical**2, 1, n - 1, n * (difference / sd) ** 2))


def seeds_needed(difference: float, sd: float) -> int | None:
    """The smallest number of seeds whose paired t test finds a difference with 80 % power; None above 100,000."""
    found = bisect_left(range(_MOST_SEEDS), POWER, lo=2, key=lambda n: power(abs(difference), sd, n))
    return found if found < _MOST_SEEDS else None


def resolvable(sd: float, n: int, level: float = LEVEL) -> float | None:
    """The smallest difference that the paired t test of n seeds finds with 80 % power; None of fewer than two."""
    return None if n < 2 else _resolvable(n, level) * sd


@cache
def _resolvable(n: int, level: float) -> float:
    """In units of the standard deviation."""
    from scipy import optimize, stats

    # With 80 % power a test finds what is somewhat beyond its own critical value; far below twice that.
    highest = (2 * float(stats.t.ppf(1 - level / 2, n - 1)) + 10) / n**0.5
    return float(optimize.brentq(lambda effect: power(effect, 1.0, n, level) - POWER, 0.0, highest))
