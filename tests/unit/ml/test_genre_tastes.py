"""What users like by genre, from literal ratings, and the second table that it is made from."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import yaml
from pyspark.testing import assertDataFrameEqual

from contracts import pipelines
from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import GenreTastes
from spark_apps.io import ops, verdicts
from spark_apps.io.verdicts import Verdict
from spark_apps.ml import features
from spark_apps.transforms import genre_tastes

ASKED = GenreTastes(
    kind="genre_tastes", user="user_id", item="movie_id", rating="rating", items="bronze.movies", genres="genres",
    min_ratings=1, of=("Action", "Comedy", "Drama", "Sci-Fi"),
)  # fmt: skip
TASTES = "user_id int, likes_action double, likes_comedy double, likes_drama double, likes_sci_fi double"
SAID = {
    "name": "tastes", "about": "Users who like the same genres.", "task": "clustering",
    "dataset": "bronze.movie_ratings", "key": ["user_id"], "features": ASKED.model_dump(),
    "baselines": {"by_action": "likes_action"},
    "split": {"kind": "random", "holdout_fraction": 0.2, "min_train_rows": 2, "min_holdout_rows": 2},
    "algorithms": [{"name": "kmeans", "k": 3}], "seed": 1, "fit_partitions": 2,
    "gate": {
        "metric": "silhouette", "baseline": "by_action", "min_skill": 0.1, "min_gain": 0.01, "min_cluster_share": 0.05,
    },
    "compute_profile": "small", "schedule": {"cron": "0 5 * * 1", "deadline_min": 60},
}  # fmt: skip


@pytest.mark.spark
def test_a_taste_is_what_a_user_likes_more_than_the_rest(spark):
    items = spark.createDataFrame(
        [(1, "Action|Drama"), (2, "Drama"), (3, "(no genres listed)"), (4, "Comedy|Comedy"), (5, None), (6, "Western")],
        "movie_id int, genres string",
    )
    rows = [
        # Mean 3: deviations 2, -1, -1, 0; without sign they sum to 4. Film 3 has no genre, film 99 is not listed.
        (1, 1, 5.0), (1, 2, 2.0), (1, 3, 2.0), (1, 99, 3.0),
        # All the same: nothing is liked more.
        (2, 1, 3.3), (2, 2, 3.3), (2, 4, 3.3),
        # Mean 3: film 4 counts 1, not twice, and Western was not asked for.
        (4, 4, 4.0), (4, 5, 2.5), (4, 6, 2.5),
        # Too few ratings.
        (3, 4, 5.0), (3, 1, 1.0),
    ]  # fmt: skip
    ratings = spark.createDataFrame(rows, "user_id int, movie_id int, rating double")
    asked = ASKED.model_copy(update={"min_ratings": 3})
    found = genre_tastes.features(ratings, items, asked)
    expected = [(1, 0.25, 0.0, 0.0, 0.0), (2, 0.0, 0.0, 0.0, 0.0), (4, 0.0, 0.5, 0.0, 0.0)]
    assertDataFrameEqual(found, spark.createDataFrame(expected, TASTES), ignoreNullable=True)
    assert genre_tastes.features(ratings, items, ASKED).count() == 4


@pytest.mark.spark
def test_tastes_without_the_table_of_items_are_refused(spark):
    spec = PipelineSpec.model_validate(SAID)
    assert spec.beside == "bronze.movies"
    with pytest.raises(ValueError, match=r"features\.tastes is made of bronze\.movies too, and got no rows of it"):
        features.build(spark.range(1).toDF("user_id"), spec)


def test_a_pipeline_over_one_table_has_none_beside_it():
    assert pipelines.load("movielens").beside is None


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"items": "bronze.films"}, ["field features.items", "'bronze.films'", "bronze.movies"]),
        (
            {"items": "bronze.movie_ratings"},
            ["field features.items", "a table of landed files with the columns genres"],
        ),
        ({"rating": "stars"}, ["field features", "no column stars"]),
        ({"of": ["Action"]}, ["features.of", "at least 2 items"]),
        ({"min_ratings": 0}, ["features.min_ratings", "greater than or equal to 1"]),
    ],
)
def test_a_wrong_spec_is_refused_by_field(tmp_path, changes, names):
    (tmp_path / "tastes.yaml").write_text(yaml.safe_dump({**SAID, "features": {**_plain(), **changes}}))
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load("tastes", tmp_path)
    for part in names:
        assert part in str(refusal.value)


def test_the_second_table_is_read_at_the_version_that_was_judged_last(settings):
    engine = ops.connect(settings.ops_database)
    with pytest.raises(QualityGateError, match=r"Using bronze\.movies: found no verdict about a version of it"):
        verdicts.newest(engine, "bronze.movies")
    for version, passed in ((1, True), (2, True)):
        verdicts.record(engine, _verdict(version, passed=passed))
    verdicts.record(engine, _verdict(None, passed=True))  # of a snapshot
    assert verdicts.newest(engine, "bronze.movies").table_version == 2
    verdicts.record(engine, _verdict(3, passed=False))
    with pytest.raises(QualityGateError, match="found verdict 4, which failed"):
        verdicts.newest(engine, "bronze.movies")


def _plain() -> dict[str, object]:
    return {**ASKED.model_dump(), "of": list(ASKED.of)}


def _verdict(version: int | None, *, passed: bool) -> Verdict:
    return Verdict(
        dataset="bronze.movies", content_hash="c", suite_hash="s", passed=passed, run_key="r", report="none", rows=1,
        judged_at=datetime(2026, 1, 1, tzinfo=UTC), table_version=version,
    )  # fmt: skip
