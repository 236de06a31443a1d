"""How good the probabilities of a two-class model are, from counts that any number of rows fits into.

Rows are counted by score in bins so narrow (2^-20) that all measures agree with those of the rows themselves to about
1e-6: every row counts, and one row per occupied bin leaves the cluster.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Floats = NDArray[np.float64]

#: Bins of equal width over [0, 1].
BINS = 2**20
#: Bins that the simulation of a perfect model works with: finer ones change its quantiles by less than its own noise.
_COARSE = 4096
#: A probability of exactly 0 or 1 that is wrong would cost infinity; this is what scikit-learn clips at for float64.
_LEAST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Scores:
    """Occupied bins in ascending order of score: rows of both classes and the mean score, arrays of one length."""

    positives: Floats
    negatives: Floats
    mean: Floats

    @property
    def rows(self) -> float:
        return float(self.positives.sum() + self.negatives.sum())

    @property
    def prevalence(self) -> float:
        """Share of positives."""
        return float(self.positives.sum()) / self.rows


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width over [0, 1] that have rows: how many, their mean score, their share of positives."""

    rows: Floats
    mean_score: Floats
    positive_share: Floats


def count(frame: DataFrame, *, label: str, score: str) -> Scores:
    """Count ``frame`` by ``score`` (probability of class 1, in [0, 1]) and ``label`` (0 or 1), neither null."""
    bin_of = F.least(F.floor(F.col(score) * BINS), F.lit(BINS - 1))
    found = (
        frame.groupBy(bin_of.alias("bin"))
        .agg(F.sum(label).alias("positives"), F.count("*").alias("rows"), F.avg(score).alias("mean"))
        .orderBy("bin")
        .toPandas()
    )
    if found.empty:
        raise ValueError("scores of no rows were asked for")
    positives = found["positives"].to_numpy(np.float64)
    return Scores(positives, found["rows"].to_numpy(np.float64) - positives, found["mean"].to_numpy(np.float64))


def of_arrays(labels: NDArray[np.int_], probabilities: Floats) -> Scores:
    """The same for arrays of one length: labels 0 or 1, probabilities of class 1."""
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    _, inverse = np.unique(places, return_inverse=True)
    rows, positives, sums = (_sums(inverse, weights) for weights in (np.ones(len(labels)), labels, probabilities))
    return Scores(positives, rows - positives, sums / rows)


def roc_auc(scores: Scores) -> float:
    """Probability that a positive scores higher than a negative, ties counted half (Hanley and McNeil, 1982)."""
    below = np.cumsum(scores.negatives) - scores.negatives / 2
    pairs = scores.positives.sum() * scores.negatives.sum()
    return float((scores.positives * below).sum() / pairs) if pairs else float("nan")


def roc_auc_sd(scores: Scores) -> float:
    """Standard error of ``roc_auc`` by DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988)."""
    p, n = scores.positives.sum(), scores.negatives.sum()
    if p < 2 or n < 2:
        return float("nan")
    auc = roc_auc(scores)
    beaten = (np.cumsum(scores.negatives) - scores.negatives / 2) / n
    beaten_by = (np.cumsum(scores.positives[::-1])[::-1] - scores.positives / 2) / p
    of_positives = (scores.positives * (beaten - auc) ** 2).sum() / (p - 1)
    of_negatives = (scores.negatives * (beaten_by - auc) ** 2).sum() / (n - 1)
    return float(np.sqrt(of_positives / p + of_negatives / n))


def pr_auc(scores: Scores) -> float:
    """Average precision: precision at each threshold, weighted by the recall that it adds. No interpolation."""
    found, taken = np.cumsum(scores.positives[::-1]), np.cumsum((scores.positives + scores.negatives)[::-1])
    total = scores.positives.sum()
    return float((scores.positives[::-1] * found / taken).sum() / total) if total else float("nan")


def log_loss(scores: Scores) -> float:
    """Mean of ``-ln p`` of the class that was the case."""
    p = np.clip(scores.mean, _LEAST, 1 - _LEAST)
    return float(-(scores.positives * np.log(p) + scores.negatives * np.log1p(-p)).sum() / scores.rows)


def brier(scores: Scores) -> float:
    """Mean squared difference of probability and outcome (Brier, 1950)."""
    errors = scores.positives * (1 - scores.mean) ** 2 + scores.negatives * scores.mean**2
    return float(errors.sum() / scores.rows)


def reliability(scores: Scores, bins: int = 10) -> Reliability:
    rows, score_sums, positives = _binned(scores, bins)
    kept = rows > 0
    return Reliability(rows[kept], score_sums[kept] / rows[kept], positives[kept] / rows[kept])


def ece(scores: Scores, bins: int = 10) -> float:
    """Expected calibration error: mean over rows of |mean score - share of positives| of their bin (Naeini, 2015)."""
    found = reliability(scores, bins)
    return float((found.rows * np.abs(found.mean_score - found.positive_share)).sum() / scores.rows)


def perfect_ece(scores: Scores, quantile: float, *, bins: int = 10, draws: int = 1000, seed: int = 0) -> float:
    """The ``quantile`` of the ECE that a perfectly calibrated model with these very scores would show.

    It is above 0, and the larger the fewer rows there are: a fixed limit on ECE fails perfect models.
    """
    rows, score_sums, _ = _binned(scores, _COARSE)
    kept = rows > 0
    rows, mean = rows[kept], score_sums[kept] / rows[kept]
    wide = np.minimum((mean * bins).astype(np.int64), bins - 1)
    in_bin = np.zeros((len(rows), bins))
    in_bin[np.arange(len(rows)), wide] = 1.0
    expected = (rows * mean) @ in_bin
    drawn = np.random.default_rng(seed).binomial(rows.astype(np.int64), np.clip(mean, 0, 1), size=(draws, len(rows)))
    errors = np.abs(drawn @ in_bin - expected).sum(axis=1) / scores.rows
    return float(np.quantile(errors, quantile))


def _binned(scores: Scores, bins: int) -> tuple[Floats, Floats, Floats]:
    """Rows, sum of scores and positives in ``bins`` bins of equal width."""
    place = np.minimum((scores.mean * bins).astype(np.int64), bins - 1)
    rows = scores.positives + scores.negatives
    weights = (rows, rows * scores.mean, scores.positives)
    first, second, third = (_sums(place, each, bins) for each in weights)
    return first, second, third


def _sums(place: NDArray[np.int64], weights: NDArray[Any], bins: int = 0) -> Floats:
    return np.bincount(place, weights=weights, minlength=bins).astype(np.float64)
