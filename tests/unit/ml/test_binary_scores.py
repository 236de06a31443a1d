"""Measures of probabilities beside their definitions, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from spark_apps.ml.measuring import binary_scores
from spark_apps.ml.measuring.binary_scores import of_arrays

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def drawn(rows: int, seed: int = 1, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of probabilities that are right."""
    random = np.random.default_rng(seed)
    p = random.beta(2, 3, rows)
    p = np.round(p, 1) if ties else p
    return (random.random(rows) < p).astype(int), p


def auc_by_pairs(labels: np.ndarray, p: np.ndarray) -> float:
    positives, negatives = p[labels == 1][:, None], p[labels == 0][None, :]
    return float(((positives > negatives) + 0.5 * (positives == negatives)).mean())


@pytest.mark.parametrize("ties", [False, True])
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(ties: bool) -> None:
    labels, p = drawn(800, ties=ties)
    assert binary_scores.roc_auc(of_arrays(labels, p)) == pytest.approx(auc_by_pairs(labels, p), abs=2e-6)


def test_its_standard_error_is_the_spread_over_repeated_draws() -> None:
    scores = [of_arrays(*drawn(600, seed)) for seed in range(400)]
    spread = np.std([binary_scores.roc_auc(each) for each in scores])
    told = np.mean([binary_scores.roc_auc_sd(each) for each in scores])
    assert told == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("ties", [False, True])
def test_pr_auc_is_average_precision(ties: bool) -> None:
    labels, p = drawn(300, ties=ties)
    expected, recall = 0.0, 0.0
    for threshold in sorted(set(p), reverse=True):
        taken = p >= threshold
        now = labels[taken].sum() / labels.sum()
        expected += (now - recall) * labels[taken].mean()
        recall = now
    assert binary_scores.pr_auc(of_arrays(labels, p)) == pytest.approx(expected, abs=1e-5)


def test_log_loss_and_brier_are_the_means_over_rows() -> None:
    labels, p = drawn(2_000)
    scores = of_arrays(labels, p)
    of_truth = np.where(labels == 1, p, 1 - p)
    assert binary_scores.log_loss(scores) == pytest.approx(-np.log(of_truth).mean(), abs=1e-6)
    assert binary_scores.brier(scores) == pytest.approx(((p - labels) ** 2).mean(), abs=1e-6)


def test_a_certain_model_that_is_wrong_costs_much_and_not_infinity() -> None:
    scores = of_arrays(np.array([0, 1]), np.array([1.0, 1.0]))
    assert binary_scores.log_loss(scores) == pytest.approx(-np.log(np.finfo(float).eps) / 2)


def test_ece_is_the_mean_gap_of_ten_bins() -> None:
    labels, p = drawn(2_000)
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [(bins == b).mean() * abs(p[bins == b].mean() - labels[bins == b].mean()) for b in set(bins)]
    scores = of_arrays(labels, p)
    assert binary_scores.ece(scores) == pytest.approx(sum(gaps), abs=1e-6)
    curve = binary_scores.reliability(scores)
    assert curve.rows.sum() == 2_000
    assert curve.mean_score[0] == pytest.approx(p[bins == 0].mean(), abs=1e-6)


def test_one_in_twenty_perfect_models_is_above_the_95_percent_point() -> None:
    above = [
        binary_scores.ece(scores) > binary_scores.perfect_ece(scores, 0.95, draws=200)
        for scores in (of_arrays(*drawn(500, seed)) for seed in range(200))
    ]
    assert 0.01 < np.mean(above) < 0.1


def test_a_model_that_is_off_by_five_points_is_above_it() -> None:
    labels, p = drawn(11_000)
    scores = of_arrays(labels, np.clip(p + 0.05, 0, 1))
    assert binary_scores.ece(scores) > 2 * binary_scores.perfect_ece(scores, 0.95)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone_has_no_order(labels: list[int]) -> None:
    scores = of_arrays(np.array(labels), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(binary_scores.roc_auc(scores))
    assert np.isnan(binary_scores.roc_auc_sd(scores))
    assert scores.prevalence == labels[0]


@pytest.mark.spark
def test_counting_in_spark_gives_the_same_scores(spark: SparkSession) -> None:
    labels, p = drawn(500)
    p[:2] = 0.0, 1.0
    rows = [(int(label), float(each)) for label, each in zip(labels, p, strict=True)]
    found = binary_scores.count(spark.createDataFrame(rows, "y int, p double"), label="y", score="p")
    expected = of_arrays(labels, p)
    assert (found.positives == expected.positives).all()
    assert (found.negatives == expected.negatives).all()
    assert np.allclose(found.mean, expected.mean, atol=1e-15)
    with pytest.raises(ValueError, match="no rows"):
        binary_scores.count(spark.createDataFrame([], "y int, p double"), label="y", score="p")
