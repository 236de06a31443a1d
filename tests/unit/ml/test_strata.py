"""Draws class by class: exact shares, the same rows wherever they lie, and what a later holdout means for a model."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PIPELINES, PipelineSpec
from spark_apps.ml.splitting import folds, splits, strata

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from spark_apps.ml.splitting.strata import StratifiedBounds


def spec(**changes: object) -> PipelineSpec:
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    split = {"kind": "random", "holdout_fraction": 0.2, "stratify": True, "min_train_rows": 2, "min_holdout_rows": 2}
    said |= {"features": {"kind": "table", "numeric": ["m_bb"]}, "split": split}
    said["search"] |= {"stratify": True}
    return PipelineSpec.model_validate(said | changes)


def rows(spark: SparkSession, n: int = 60) -> DataFrame:
    """Every seventh line is of class 1: of the first 60 lines 9."""
    made = [("a", line, int(line % 7 == 3), float(line)) for line in range(n)]
    # One slice: the cost of these tests is that of starting tasks.
    return spark.createDataFrame(made, "source_sha256 string, source_line bigint, label int, m_bb double").coalesce(1)


def lines(frame: DataFrame) -> set[int]:
    return {row["source_line"] for row in frame.collect()}


@given(n=st.integers(0, 500), share=st.fractions(0, 1, max_denominator=100))
@example(n=1, share=Fraction(1, 5))
@example(n=2, share=Fraction(1, 100))
def test_a_share_is_rounded_and_no_class_of_two_rows_is_all_on_one_side(n, share):
    below = strata.rows_below(n, share)
    assert below == n * share or abs(below - n * share) <= Fraction(1, 2) or below in (1, n - 1, 0)
    assert (0 < below < n) if n >= 2 else below == 0


@given(number=st.integers(2, 20), more=st.integers(0, 300))
def test_folds_of_a_class_differ_by_one_row_at_most(number, more):
    n = number + more
    cuts = [0, *(strata.rows_below(n, Fraction(each, number)) for each in range(1, number)), n]
    sizes = {b - a for a, b in zip(cuts, cuts[1:], strict=False)}
    assert sizes <= {n // number, -(-n // number)}


@pytest.mark.spark
def test_each_class_gives_its_share_to_the_holdout_wherever_its_rows_lie(spark):
    frame = rows(spark)
    split = splits.of(frame, spec())
    train, holdout = split.train(frame), split.holdout(frame)
    # A fifth of 51 and of 9.
    assert strata.class_counts(holdout, "label") == (10, 2)
    assert strata.class_counts(train, "label") == (41, 7)
    assert (split.train_rows, split.holdout_rows) == (48, 12)
    assert lines(train) | lines(holdout) == set(range(60))
    assert splits.of(frame.repartition(5), spec()) == split
    assert splits.from_json(split.model_dump_json()) == split
    assert lines(splits.of(frame, spec(seed=1)).holdout(frame)) != lines(holdout)


@pytest.mark.spark
def test_what_is_of_neither_class_is_trained_on_and_so_is_found(spark):
    frame = rows(spark).withColumn("label", F.when(F.col("source_line") < 2, 2).otherwise(F.col("label")))
    split = splits.of(frame, spec())
    assert {0, 1} <= lines(split.train(frame))
    assert (split.train_rows, split.holdout_rows) == (split.train(frame).count(), split.holdout(frame).count())


@pytest.mark.parametrize(
    ("seed", "said"), [(2, ""), (6, "was trained on rows of the holdout with label 0 and 1")], ids=["unknown", "known"]
)
@pytest.mark.spark
def test_a_champion_is_compared_on_what_it_did_not_know_when_more_rows_have_come(spark, seed, said):
    fewer, more = rows(spark, 60), rows(spark, 90)
    champion, split = splits.of(fewer, spec(seed=seed)), splits.of(more, spec(seed=seed))
    trained, judged = lines(champion.train(fewer)), lines(split.holdout(more))
    # The cuts are at other draws than they were, for one seed where the champion was trained, for the other not.
    assert (splits.known_to(champion, split), bool(trained & judged)) == (said, bool(said))
    narrowed = splits.unseen_by_both(more, split, champion, min_rows=2)
    assert splits.known_to(champion, narrowed) == ""
    left = lines(narrowed.holdout(more))
    assert left == judged - lines(champion.train(more))
    assert narrowed == split.model_copy(update={"holdout_below": narrowed.holdout_below, "holdout_rows": len(left)})
    # Too few would be left: the holdout stays as it is, and the champion is not judged on it.
    assert splits.unseen_by_both(more, split, champion, min_rows=split.holdout_rows) == split


@pytest.mark.spark
def test_every_row_validates_once_and_every_fold_has_each_class_alike(spark):
    frame = rows(spark)
    made = folds.of(frame, spec(), 3)
    assert [strata.class_counts(judged, "label") for _, judged in made] == [(17, 3)] * 3
    judged = [lines(part) for _, part in made]
    assert set.union(*judged) == set(range(60))
    assert [lines(fitted) for fitted, _ in made] == [set(range(60)) - part for part in judged]
    assert [lines(part) for _, part in folds.of(frame.repartition(7), spec(), 3)] == judged


@pytest.mark.spark
def test_a_class_with_fewer_rows_than_folds_is_refused(spark):
    with pytest.raises(QualityGateError, match="found 51 rows of label 0 and 9 of label 1; required 10 of each"):
        folds.of(rows(spark), spec(), 10)


def test_models_that_were_drawn_in_another_way_are_not_compared():
    split = bounds(holdout_below=(5, 5))
    assert strata.known_to(bounds(seed=2), split) == strata.known_to(bounds(by=("b",)), split)
    assert strata.known_to(bounds(seed=2), split) == "was drawn in another way"
    assert strata.known_to(bounds(train_from=(5, 4)), split) == "was trained on rows of the holdout with label 1"
    assert strata.known_to(bounds(train_from=(5, 6)), split) == ""


def bounds(**changes: object) -> StratifiedBounds:
    said = {
        "label": "label", "by": ("a",), "seed": 1, "train_from": (5, 5), "holdout_below": (5, 5),
        "train_rows": 8, "holdout_rows": 2,
    }  # fmt: skip
    return strata.StratifiedBounds.model_validate(said | changes)
