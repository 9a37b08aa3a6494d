"""The statistics say what scipy, other libraries' published values and simulation say."""

from itertools import product
from statistics import mean, stdev

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    MOST_EXACT_PAIRS,
    Estimate,
    estimate,
    holm,
    permutation,
    pooled,
    power,
    resolvable,
    seeds_needed,
    smallest_p,
    welch,
)

# Student's sleep data: extra hours of ten patients under two drugs ("Student", The probable error of a mean, Biometrika 6, 1908).
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def test_known_data_have_the_known_interval() -> None:
    found = estimate(SLEEP)
    # The 95 % interval and p value that R's documentation of t.test gives for these data (paired).
    assert (found.n, found.mean) == (10, pytest.approx(1.58))
    assert (found.low, found.high) == (pytest.approx(0.7001142, abs=1e-6), pytest.approx(2.4598858, abs=1e-6))
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert found.sd == pytest.approx(stdev(SLEEP))


def test_the_interval_is_that_of_scipys_paired_test() -> None:
    ours, baseline = np.random.default_rng(0).normal(70, 0.4, (2, 5))
    found, expected = estimate(list(ours - baseline)), stats.ttest_rel(ours, baseline)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5], [0.1 + 0.2, 0.3], [0.0, 0.0]])
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    found = estimate(values)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.mean == pytest.approx(values[0])


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_in_95_of_100_studies(seeds: int) -> None:
    """Two strategies whose runs share a seed's luck, 0.4 points, and have their own, 0.3 points; the truth is a difference of 0.5."""
    draws = np.random.default_rng(seeds)
    covered = 0
    for _ in range(2000):
        shared, (baseline, ours) = draws.normal(0, 0.4, seeds), draws.normal(0, 0.3, (2, seeds))
        found = estimate(list((70.5 + shared + ours) - (70 + shared + baseline)))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_welchs_interval_is_that_of_known_data() -> None:
    """The two halves of Student's data as he gave them; the interval is that of R's t.test(extra ~ group), by its documentation."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert welch(first, second) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    assert welch(first, [1.0]) is welch([1.0, 1.0], second) is None


@pytest.mark.parametrize(("strategies", "seeds"), [(1, 3), (5, 3), (20, 3), (5, 2), (20, 5)])
def test_the_interval_of_the_pooled_spread_covers_the_truth(strategies: int, seeds: int) -> None:
    """Of strategies that share a baseline as noisy as they are, and its variance is twice that of a run."""
    draws = np.random.default_rng(strategies)
    differences = draws.normal(0, 0.3, (1000, strategies, seeds)) - draws.normal(0, 0.3, (1000, 1, seeds))
    found = [pooled([Estimate(seeds, 0.0, float(sd)) for sd in study]) for study in differences.std(axis=2, ddof=1)]
    assert mean(one.sd**2 for one in found) == pytest.approx(2 * 0.3**2, rel=0.1)
    assert mean(one.low**2 <= 2 * 0.3**2 <= one.high**2 for one in found) >= 0.92
    assert mean(one.low**2 <= 2 * 0.3**2 <= one.high**2 for one in found) <= 0.99


def test_a_strategy_without_spread_counts_in_the_pooled_one() -> None:
    assert pooled([estimate([0.0, 1.0, 2.0]), estimate([0.5, 0.5, 0.5])]).sd == pytest.approx(0.5**0.5)


def all_signs(differences: list[float]) -> float:
    """Share of all sign changes with a mean at least as far from 0."""
    means = [abs(mean(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(differences))]
    return sum(value >= abs(mean(differences)) - 1e-12 for value in means) / len(means)


@pytest.mark.parametrize("pairs", [1, 2, 3, 6, 9])
def test_the_permutation_test_tries_every_sign_change(pairs: int) -> None:
    for shift in (0.0, 0.3, 3.0):
        differences = list(np.random.default_rng(pairs).normal(shift, 0.5, pairs))
        found = permutation(differences)
        assert found.exact
        assert found.p == pytest.approx(all_signs(differences))
        assert found.p >= found.smallest
        if pairs > 1:
            data, options = (np.array(differences),), {"permutation_type": "samples", "n_resamples": 2**pairs}
            assert found.p == pytest.approx(stats.permutation_test(data, lambda d: d.mean(), **options).pvalue)


def test_sign_changes_that_come_to_the_same_count_as_such() -> None:
    """Accuracies are written in hundredths, whose floats differ by a little more or less than that."""
    baseline, hundredths = 67.42, (40, 28, 20, 61, -5, -20)
    found = permutation([(6742 + step) / 100 - baseline for step in hundredths])
    assert found.p == all_signs(list(hundredths)) == 0.1875


def test_differences_of_one_sign_give_the_smallest_p() -> None:
    assert [permutation([0.1 + k for k in range(n)]).p for n in (2, 3, 9)] == pytest.approx([smallest_p(n) for n in (2, 3, 9)])
    assert [smallest_p(n) for n in (3, 9)] == [0.25, 2 / 512]


def test_many_pairs_are_tested_by_random_sign_changes_that_are_the_same_each_time() -> None:
    differences = list(np.random.default_rng(1).normal(0.1, 0.5, MOST_EXACT_PAIRS + 5))
    found = permutation(differences)
    assert not found.exact
    assert found == permutation(differences)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.03)
    assert permutation([1.0 + k / 100 for k in range(30)]).p == pytest.approx(found.smallest)


def test_the_permutation_test_rejects_a_true_hypothesis_no_more_often_than_it_says() -> None:
    draws = np.random.default_rng(7)
    rejected = sum(permutation(list(draws.normal(0, 0.4, 9))).p <= 0.05 for _ in range(1000))
    assert 0.03 <= rejected / 1000 <= 0.065  # three standard errors


def test_holm_corrects_as_published() -> None:
    # What R's p.adjust(p, "holm") and statsmodels' multipletests give.
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([0.01, 0.02]) == pytest.approx([0.02, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


# Cohen, Statistical power analysis, and G*Power 3.1, two-sided paired t test at 5 %, 80 % power: effect size -> pairs.
@pytest.mark.parametrize(("effect", "pairs"), [(0.1, 787), (0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_those_of_the_tables(effect: float, pairs: int) -> None:
    assert seeds_needed(effect, 1.0) == pairs
    assert seeds_needed(-0.3 * effect, 0.3) == pairs
    assert power(effect, 1.0, pairs) >= 0.8 > power(effect, 1.0, pairs - 1)


def test_what_no_number_of_seeds_resolves_is_said_so() -> None:
    assert seeds_needed(1e-4, 1.0) is None


@pytest.mark.parametrize("level", [0.05, 0.05 / 47])
@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_the_resolvable_difference_is_found_with_80_percent_power(seeds: int, level: float) -> None:
    difference = resolvable(0.3, seeds, level)
    assert difference is not None
    assert power(difference, 0.3, seeds, level) == pytest.approx(0.8)
    assert resolvable(0.3, 1) is None


def test_power_is_the_share_of_studies_that_find_the_difference() -> None:
    draws = np.random.default_rng(3).normal(0.5, 0.4, (4000, 5))
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert power(0.5, 0.4, 5) == pytest.approx(found, abs=0.025)  # three standard errors
