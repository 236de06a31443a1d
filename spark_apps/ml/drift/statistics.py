"""Distances and tests between two vectors of counts in the same bins. Nothing here knows columns or frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from spark_apps.ml.drift.bins import Counts

Floats = NDArray[np.float64]

#: Added to each cell before a logarithm, so that an empty one does not make it infinite.
_HALF = 0.5
#: Cells that both samples together fill less than this do not follow the chi-squared distribution (Cochran 1954).
_LEAST_EXPECTED = 5.0
#: Beyond it the polynomial for Anderson and Darling's tail was not fitted; both formulas give 1.1e-4 here.
_END_OF_SERIES = 8.0
#: Parts of the reference below which a share of the values is compared. More of them find no more: each costs power.
_PLACES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def shares(counts: Counts) -> Floats:
    """Parts of the whole; zeros where there is nothing."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


def kolmogorov_smirnov(reference: Counts, window: Counts) -> float:
    """Largest difference of the two distribution functions at the edges of the bins: 0 to 1."""
    return float(np.abs(np.cumsum(shares(reference)) - np.cumsum(shares(window))).max(initial=0.0))


def kolmogorov_smirnov_p(distance: float, n: float, m: float) -> float:
    """Chance of at least this distance without a shift, for ``n`` and ``m`` independent values.

    The limiting distribution with Stephens' correction for few values (J. Royal Statistical Society B 32, 1970).
    """
    root = np.sqrt(n * m / (n + m))
    return float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def anderson_darling(reference: Counts, window: Counts) -> float:
    """Two-sample statistic A^2 (Pettitt, Biometrika 63, 1976) at the edges of the bins.

    Each edge counts with half of the values in the bins on its two sides.
    """
    n, m = float(reference.sum()), float(window.sum())
    pooled = (reference + window) / (n + m)
    below = np.cumsum(pooled)[:-1]
    weight = (pooled[:-1] + pooled[1:]) / 2
    gap = (np.cumsum(shares(reference)) - np.cumsum(shares(window)))[:-1]
    inside = (below > 0) & (below < 1)
    terms = weight[inside] * gap[inside] ** 2 / (below[inside] * (1 - below[inside]))
    return float(n * m / (n + m) * terms.sum())


def anderson_darling_p(statistic: float) -> float:
    """Chance of at least this A^2 without a shift, for many values.

    The limiting distribution as Marsaglia and Marsaglia compute it (J. of Statistical Software 9, 2004, ``adinf``);
    beyond its range that of the largest of its terms, Z^2/2, times the root of 3 (Zolotarev, Theory of Probability and
    its Applications 6, 1961).
    """
    z = statistic
    if z <= 0:
        return 1.0
    if z < 2:
        series = 2.00012 + (0.247105 - (0.0649821 - (0.0347962 - (0.0116720 - 0.00168691 * z) * z) * z) * z) * z
        return float(1 - np.exp(-1.2337141 / z) / np.sqrt(z) * series)
    if z < _END_OF_SERIES:
        inner = 2.30695 - (0.43424 - (0.082433 - (0.008056 - 0.0003146 * z) * z) * z) * z
        return float(-np.expm1(-np.exp(1.0776 - inner * z)))
    return float(np.sqrt(3) * stats.chi2.sf(2 * z, 1))


def population_stability_index(reference: Counts, window: Counts) -> float:
    """Sum of (q - p) ln(q / p) over the bins, half a value added to each."""
    p = (reference + _HALF) / (reference + _HALF).sum()
    q = (window + _HALF) / (window + _HALF).sum()
    return float(((q - p) * np.log(q / p)).sum())


def stability_index_limit(n: float, m: float, n_bins: int) -> float:
    """95 % point of the index without a shift: chi-squared of ``n_bins`` - 1 times (1/n + 1/m).

    As Yurdakul and Naranjo derive it (Statistical properties of the population stability index, 2020).
    """
    return float(stats.chi2.ppf(0.95, max(n_bins - 1, 1)) * (1 / n + 1 / m))


def jensen_shannon(reference: Counts, window: Counts) -> float:
    """Jensen-Shannon distance, the root of the divergence in bits: 0 to 1."""
    p, q = shares(reference), shares(window)
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()) / 2 / np.log(2)
    return float(np.sqrt(max(divergence, 0.0)))


def wasserstein(reference: Counts, window: Counts, bounds: Sequence[float]) -> float:
    """Mean distance that a value moves, in the column's unit: the area between the two distribution functions.

    ``bounds`` are the ends of the bins, one more than there are bins; inside a bin values are spread evenly.
    """
    gap = np.concatenate([[0.0], np.cumsum(shares(reference)) - np.cumsum(shares(window))])
    a, b, width = gap[:-1], gap[1:], np.diff(np.asarray(bounds, dtype=float))
    # A line from a to b encloses the mean of both with the axis, or two triangles where it crosses.
    crosses = a * b < 0
    area = (np.abs(a) + np.abs(b)) / 2
    total = np.abs(a) + np.abs(b)
    area = np.where(crosses, (a**2 + b**2) / (2 * np.where(total > 0, total, 1)), area)
    return float((area * width).sum())


def total_variation(reference: Counts, window: Counts) -> float:
    """Half the sum of the differences of shares: the part of one sample that must move to make the other; 0 to 1."""
    return float(np.abs(shares(reference) - shares(window)).sum() / 2)


def chi_squared_p(reference: Counts, window: Counts) -> float:
    """Pearson's test that two samples have the same shares; cells too thin for it are put together."""
    both = np.stack([reference, window])
    expected = both.sum(0) * both.sum(1).min() / both.sum()
    is_thin = expected < _LEAST_EXPECTED
    cells = np.column_stack([both[:, ~is_thin], both[:, is_thin].sum(1)])
    cells = cells[:, cells.sum(0) > 0]
    if cells.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(cells, correction=False).pvalue)


def shift_of_blocks_p(parts_of_reference: Floats, parts_of_window: Floats, n_window_blocks: float) -> float:
    """Chance of at least such a shift of any of some parts, where the rows of a block depend on each other.

    ``parts_of_reference`` holds for each block of the reference (row) each part of its values (column), such as those
    below a place of the reference, and ``parts_of_window`` the same parts of the window, which is as long as
    ``n_window_blocks`` of those blocks. A block counts as one observation: the difference of each part, divided by its
    standard deviation between blocks, follows Student's t (cluster sampling: Cochran, Sampling Techniques, 1977, 9A);
    the largest of them by Bonferroni. Blocks have longer tails than the normal distribution, such as the week of
    Christmas: where some of the reference are as far from the others as the window is, p is at least their share. 1.0
    where fewer than two blocks or no part that varies leave nothing to compare.
    """
    blocks = len(parts_of_reference)
    if blocks < 2:
        return 1.0
    t = _largest_t(parts_of_reference, parts_of_window, n_window_blocks)
    p = float(min(1.0, parts_of_reference.shape[1] * 2 * stats.t.sf(t, blocks - 1)))
    as_far = sum(
        _largest_t(np.delete(parts_of_reference, n, axis=0), parts_of_reference[n], 1.0) >= t for n in range(blocks)
    )
    return max(p, (1 + as_far) / (1 + blocks)) if as_far else p


def _largest_t(parts_of_reference: Floats, parts: Floats, n_blocks: float) -> float:
    """The largest difference from the mean of the reference, in standard errors; 0 where nothing varies."""
    variance = parts_of_reference.var(axis=0, ddof=1)
    varies = variance > 0
    if not varies.any():
        return 0.0
    # A part that happened to be alike in all blocks would make a shift out of anything.
    variance = np.maximum(variance, np.quantile(variance[varies], 0.25))
    error = np.sqrt(variance * (1 / n_blocks + 1 / len(parts_of_reference)))
    return float((np.abs(parts - parts_of_reference.mean(axis=0)) / error).max())


def places(reference: Counts) -> list[int]:
    """Edges (index of the bin below) below which about 10, 30, 50, 70 and 90 % of the values lie; each once, none at an
    end.
    """
    below = np.cumsum(shares(reference))[:-1]
    inside = np.flatnonzero((below > 0) & (below < 1))
    if not len(inside):
        return []
    nearest = [int(inside[np.abs(below[inside] - place).argmin()]) for place in _PLACES]
    return sorted(set(nearest))


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: those at most q are a set with an expected share of false ones of at most q.

    Benjamini and Hochberg, J. Royal Statistical Society B 57, 1995; sound for features that rise and fall together.
    """
    if not len(p):
        return []
    return [float(each) for each in stats.false_discovery_control(p, method="bh")]
