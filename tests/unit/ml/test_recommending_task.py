"""Task recommendation from a snapshot to the table of measures, for a few users of two tastes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from pyspark.ml import PipelineModel
from pyspark.testing import assertDataFrameEqual

from contracts import pipelines
from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines import PIPELINES, PipelineSpec
from spark_apps.io import session
from spark_apps.ml import families, features
from spark_apps.ml.fitted import CANDIDATE
from spark_apps.ml.measuring import metrics
from spark_apps.ml.recommending import judging, training
from spark_apps.ml.recommending.measures import ListScores
from spark_apps.ml.splitting import splits

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

SAID = yaml.safe_load((PIPELINES / "movielens.yaml").read_text())
ROWS = "user_id int, movie_id int, rated_at_s bigint, rating double"
#: Seen in the holdout only.
COLD = 99
LONELY = 50


def said(**changes: object) -> dict[str, object]:
    return {**yaml.safe_load(yaml.safe_dump(SAID)), **changes}


def spec(**changes: object) -> PipelineSpec:
    """The shipped pipeline, small: one combination unless the algorithms are changed."""
    small = {
        "algorithms": [
            {"name": "implicit_als", "rank": 3, "reg_param": [0.05, 0.1], "max_iter": 5},
            {"name": "residual_als", "rank": 2, "reg_param": 0.2, "max_iter": 3},
        ],
        "features": {**SAID["features"], "top": 3},
        "split": {**SAID["split"], "min_train_rows": 2, "min_holdout_rows": 2},
    }
    return PipelineSpec.model_validate(said(**(small | changes)))


def ratings(spark: SparkSession) -> DataFrame:
    """Twelve users: even ones like films 1 to 9, odd ones 11 to 19; everyone dislikes one film of the others.

    The latest film of user 2 is one that nobody else rated; user 50 has rated once, and likes it.
    """
    rows = []
    for user in range(12):
        own, other = (10, 0) if user % 2 else (0, 10)
        rows += [(user, own + 1 + (user + n) % 9, 100 + n, 4.0 + (n % 3) / 2) for n in range(7)]
        rows.append((user, other + 1 + user % 9, 90, 1.0 + user % 3))
    rows += [(2, COLD, 1000, 5.0), (LONELY, 3, 5, 4.5)]
    return spark.createDataFrame(rows, ROWS)


@pytest.mark.spark
def test_a_snapshot_holds_what_was_rated_when_and_how(spark):
    landed = spark.createDataFrame(
        [("f", "s", 2, 1, 10, 4.0, 7)],
        "source_file string, source_sha256 string, source_line bigint, user_id int, movie_id int, rating double, "
        "rated_at_s bigint",
    )
    found = features.trainable(features.build(landed, spec()), spec())
    assertDataFrameEqual(found, spark.createDataFrame([(1, 10, 7, 4.0)], ROWS))


@pytest.fixture(scope="module")
def trained(_spark_session, tmp_path_factory):
    """The frame, its split, and what a training with two trials leaves."""
    _spark_session.sparkContext.setCheckpointDir(str(tmp_path_factory.mktemp("checkpoints")))
    frame = ratings(_spark_session).localCheckpoint()
    split = splits.of(frame, spec())
    return frame, split, families.fit_and_rate(frame, split, spec())


@pytest.mark.spark
def test_everybody_is_asked_for_lists_and_who_can_for_ratings(trained):
    _, split, fitted = trained
    assert list(fitted.errors) == ["popularity", "biases", "residual_als", CANDIDATE]
    table = metrics.table(fitted.errors, spec())
    assert {row["rows"] for row in table} == {split.holdout_rows}
    # User 2 has the cold film and others; the lonely one is judged too.
    assert {row["users"] for row in table} == {13}
    assert [row["rmse"] is None for row in table] == [True, False, False, True]
    assert [row["mae"] is None for row in table] == [True, False, False, True]
    assert table[0]["skill_vs_popularity"] == 0
    assert fitted.errors[CANDIDATE].ndcg > fitted.errors["popularity"].ndcg
    assert "rmse" not in fitted.errors[CANDIDATE].numbers()
    assert fitted.errors["biases"].numbers()["rmse"] == fitted.errors["biases"].rmse
    assert json.loads(fitted.errors[CANDIDATE].model_dump_json())["rmse"] is None


@pytest.mark.spark
def test_only_the_model_of_likes_is_searched_and_chosen(trained):
    _, _, fitted = trained
    assert fitted.algorithm == "implicit_als"
    assert [(trial.algorithm, trial.state, len(trial.losses)) for trial in fitted.trials] == [
        ("implicit_als", "done", 2)
    ] * 2
    assert fitted.chosen == min(fitted.trials, key=lambda trial: trial.loss).chosen
    assert fitted.columns == ["user_id", "movie_id"]


@pytest.mark.spark
def test_a_stored_model_is_judged_like_the_fitted_one_and_adds_a_prediction(trained, tmp_path):
    frame, split, fitted = trained
    fitted.model.write().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    found = families.judge(split.train(frame), split.holdout(frame), {"version 1": loaded}, spec())
    measures = found.measures()
    assert list(measures) == ["popularity", "biases", "version 1"]
    # Sums over users come from two tasks, in the order in which they end.
    assert measures["version 1"].numbers() == pytest.approx(fitted.errors[CANDIDATE].numbers(), abs=1e-12)
    answered = loaded.transform(frame.select(*fitted.columns))
    assert answered.columns == ["user_id", "movie_id", "prediction"]
    # The cold film and the user without a training row have no factors, and keep their rows.
    assert answered.count() == frame.count()
    unknown = answered.where("isnan(prediction)").select("user_id", "movie_id")
    assert {tuple(row) for row in unknown.collect()} == {(2, COLD), (LONELY, 3)}
    test = found.against("version 1", "popularity")
    assert test.mean == pytest.approx(measures["popularity"].ndcg - measures["version 1"].ndcg)
    assert test.blocks == 13


@pytest.mark.spark
def test_a_model_of_another_kind_makes_no_lists():
    with pytest.raises(TypeError, match="this one holds str"):
        judging.likes_in(PipelineModel(["no factors"]))


@pytest.mark.spark
def test_the_paired_test_is_that_of_the_differences_by_user(spark):
    random = np.random.default_rng(5)
    gains, levels = random.normal(0.02, 0.1, 60), random.normal(0.5, 3, 60)
    ours, theirs = (
        spark.createDataFrame([(n, float(value)) for n, value in enumerate(values)], "user_id int, ndcg double")
        for values in (levels + gains, levels)
    )
    judged = judging.Lists({}, {"ours": ours, "theirs": theirs.repartition(3)})
    found = judged.against("ours", "theirs")
    assert (found.mean, found.blocks) == (pytest.approx(-gains.mean()), 60)
    assert found.standard_error == pytest.approx(gains.std(ddof=1) / 60**0.5)
    assert judged.against("theirs", "ours").mean == pytest.approx(gains.mean())
    same = judged.against("ours", "ours")
    assert (same.mean, same.standard_error) == (0, 0)


@pytest.mark.spark
def test_a_trial_that_fails_is_recorded_and_the_others_go_on(spark, monkeypatch):
    fit = training.factors.fit_likes

    def fails_once(train, settings, **how):
        if settings.regularization == 0.05:
            raise ValueError("no such factors")
        return fit(train, settings, **how)

    monkeypatch.setattr(training.factors, "fit_likes", fails_once)
    asked = spec(algorithms=[{"name": "implicit_als", "rank": 2, "reg_param": [0.05, 0.1], "max_iter": 2}])
    tried = training.search(ratings(spark), asked, asked.algorithms[0])
    assert [(trial.state, trial.problem) for trial in tried] == [
        ("failed", "ValueError: no such factors"), ("done", ""),
    ]  # fmt: skip
    assert training.trials.choices(tried, asked)["implicit_als"]["reg_param"] == 0.1


@pytest.mark.spark
@pytest.mark.parametrize(("least", "part"), [(5.5, "train on"), (4.6, "judge on")])
def test_a_part_without_likes_is_refused(spark, least, part):
    frame = spark.createDataFrame([(1, n, n, 5.0 if n < 2 else 4.5) for n in range(5)], ROWS)
    asked = spec(features={**SAID["features"], "liked_from": least, "bounds": [0.5, 6]})
    with pytest.raises(QualityGateError, match=f"no rating of {least} or more in the rows to {part}"):
        training.fit_and_rate(frame, splits.of(frame, asked), asked)


@pytest.mark.spark
def test_checkpoints_lie_in_the_state_folder_while_they_are_needed(spark, settings):
    with session.checkpoints(spark, settings):
        [folder] = (settings.state / "tmp").iterdir()
        assert str(folder) in spark.sparkContext.getCheckpointDir()
        spark.range(3).checkpoint().count()
        assert any(folder.rglob("part-*"))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"task": "regression"}, ["field task", "are for task recommendation"]),
        ({"features": {**SAID["features"], "liked_from": "much"}}, ["features.liked_from", "'much'"]),
        ({"features": {**SAID["features"], "top": 0}}, ["features.top", "greater than or equal to 1"]),
        ({"features": {**SAID["features"], "item": "film"}}, ["field features", "no column film"]),
        ({"features": {**SAID["features"], "at": "rating"}}, ["field features", "rating must be whole numbers"]),
        ({"key": ["movie_id", "user_id"]}, ["field key", "[user_id, movie_id]"]),
        ({"split": {**SAID["split"], "kind": "time"}}, ["split.kind", "are split by user_time"]),
        ({"split": {**SAID["split"], "holdout_fraction": 1}}, ["split.holdout_fraction", "less than 1"]),
        ({"gate": {**SAID["gate"], "metric": "rmse"}}, ["gate.metric", "recommendation is not measured by rmse"]),
        ({"search": {**SAID["search"], "metric": "mae"}}, ["search.metric", "is not measured by mae; by ndcg"]),
        ({"gate": {**SAID["gate"], "baseline": "persistence"}}, ["gate.baseline", "popularity, biases"]),
        ({"algorithms": [{"name": "residual_als"}]}, ["field algorithms", "implicit_als: lists made by a model"]),
        ({"algorithms": [{"name": "kmeans", "k": 4}]}, ["field algorithms", "kmeans cannot do recommendation"]),
        (
            {"algorithms": [{"name": "implicit_als"}, {"name": "residual_als", "rank": [5, 10]}]},
            ["field algorithms", "residual_als with one value each"],
        ),
    ],
)
def test_a_wrong_spec_is_refused_by_field(tmp_path: Path, changes, names):
    (tmp_path / "movielens.yaml").write_text(yaml.safe_dump(said(**changes)))
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load("movielens", tmp_path)
    for part in ["movielens.yaml", *names]:
        assert part in str(refusal.value)


def test_scores_leave_out_what_is_not_predicted():
    scores = ListScores(
        rows=9, users=3, ndcg=0.1, precision=0.1, recall=0.1, mean_average_precision=0.1, hit_rate=0.5, coverage=0.2,
        novelty=3.0, train_count=8.0, rmse=0.9,
    )  # fmt: skip
    assert set(ListScores.model_fields) - set(scores.numbers()) == {"rows", "users", "mae"}
