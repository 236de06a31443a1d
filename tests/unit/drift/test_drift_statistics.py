"""Distances and tests between counts, against other implementations and known values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spark_apps.ml.drift import statistics

FINE = np.linspace(-5, 5, 2001)


def binned(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, bins=np.concatenate([[-np.inf], FINE, [np.inf]]))[0]


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return random.normal(0, 1, 900), random.normal(0.15, 1.1, 600)


def test_in_narrow_bins_kolmogorov_smirnov_is_that_of_the_values(samples):
    before, now = samples
    known = stats.ks_2samp(before, now, method="asymp")
    distance = statistics.kolmogorov_smirnov(binned(before), binned(now))
    assert distance == pytest.approx(known.statistic, abs=0.005)
    assert statistics.kolmogorov_smirnov_p(known.statistic, 900, 600) == pytest.approx(known.pvalue, rel=0.1)


def test_in_narrow_bins_anderson_darling_is_that_of_the_values(samples):
    before, now = samples
    known = stats.anderson_ksamp([before, now], variant="midrank", method=stats.PermutationMethod(n_resamples=9))
    # Scholz and Stephens give the statistic less its mean, 1, in standard deviations of its distribution.
    statistic = statistics.anderson_darling(binned(before), binned(now))
    variance = 2 * (np.pi**2 - 9) / 3
    assert (statistic - 1) / np.sqrt(variance) == pytest.approx(known.statistic, rel=0.03)


@pytest.mark.parametrize(("statistic", "p"), [(1.933, 0.10), (2.492, 0.05), (3.070, 0.025), (3.878, 0.01)])
def test_the_tail_of_anderson_darling_is_that_of_the_tables(statistic, p):
    """D'Agostino and Stephens, Goodness-of-fit techniques, 1986, table 4.2, case 0 (1 %: of infinitely many values)."""
    assert statistics.anderson_darling_p(statistic) == pytest.approx(p, rel=0.02)


def test_the_two_formulas_of_the_tail_meet():
    below, above = statistics.anderson_darling_p(7.9999), statistics.anderson_darling_p(8.0)
    assert below == pytest.approx(above, rel=0.03)
    assert statistics.anderson_darling_p(0.0) == 1.0
    assert statistics.anderson_darling_p(40.0) < 1e-17


def test_wasserstein_of_a_move_is_the_move():
    before, now = np.array([0, 10, 10, 0, 0]), np.array([0, 0, 10, 10, 0])
    assert statistics.wasserstein(before, now, [0, 1, 2, 3, 4, 5]) == pytest.approx(1.0)
    # Functions that cross: half goes up by one bin, half down.
    spread = np.array([0, 10, 0, 10, 0])
    middle = np.array([0, 0, 20, 0, 0])
    assert statistics.wasserstein(middle, spread, [0, 1, 2, 3, 4, 5]) == pytest.approx(0.75)


def test_total_variation_is_the_part_that_must_move():
    assert statistics.total_variation(np.array([50, 50, 0]), np.array([25, 50, 25])) == pytest.approx(0.25)


def test_jensen_shannon_reaches_from_zero_to_one():
    assert statistics.jensen_shannon(np.array([3, 5]), np.array([6, 10])) == pytest.approx(0.0, abs=1e-9)
    assert statistics.jensen_shannon(np.array([4, 0]), np.array([0, 9])) == pytest.approx(1.0)


def test_the_stability_index_without_a_shift_stays_below_its_limit():
    random = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    limit = statistics.stability_index_limit(1000, 1000, 10)
    found = [
        statistics.population_stability_index(random.multinomial(1000, shares), random.multinomial(1000, shares))
        for _ in range(400)
    ]
    assert limit == pytest.approx(0.0338, abs=0.0001)
    assert np.mean([psi > limit for psi in found]) == pytest.approx(0.05, abs=0.025)


def test_thin_cells_are_put_together_before_pearsons_test():
    before, now = np.array([500, 480, *[1] * 20]), np.array([505, 475, *[0, 2] * 10])
    both = np.array([[500, 480, 20], [505, 475, 20]])
    assert statistics.chi_squared_p(before, now) == pytest.approx(stats.chi2_contingency(both, correction=False).pvalue)
    assert statistics.chi_squared_p(np.array([7, 0]), np.array([3, 0])) == 1.0


def test_benjamini_and_hochbergs_own_example():
    """The fifteen p-values of their paper, section 3.2: at q = .05 the first four are found."""
    small = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p = [*small, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = statistics.benjamini_hochberg(p)
    assert [each <= 0.05 for each in adjusted] == [True] * 4 + [False] * 11
    assert statistics.benjamini_hochberg([]) == []


def test_blocks_that_differ_among_themselves_explain_a_window_that_differs():
    """Alike inside, different from day to day: 30 days with one value each; as 30,000 independent rows it would be
    certain."""
    random = np.random.default_rng(8)
    days = random.uniform(0.3, 0.7, (30, 1))
    assert statistics.shift_of_blocks_p(days, np.array([0.66]), 1) > 0.05
    assert statistics.shift_of_blocks_p(days, np.array([0.99]), 1) < 0.01
    # The same mean over ten days is another matter.
    assert statistics.shift_of_blocks_p(days, np.array([0.66]), 10) < 0.001


def test_nothing_that_varies_between_blocks_is_no_ground_for_a_test():
    assert statistics.shift_of_blocks_p(np.full((9, 2), 0.5), np.array([0.9, 0.9]), 1) == 1.0
    assert statistics.shift_of_blocks_p(np.array([[0.5]]), np.array([0.9]), 1) == 1.0


def test_places_are_edges_with_values_on_both_sides():
    assert statistics.places(np.full(100, 7)) == [9, 29, 49, 69, 89]
    assert statistics.places(np.array([0, 90, 10, 0])) == [1]
    assert statistics.places(np.array([0, 50, 0])) == []
