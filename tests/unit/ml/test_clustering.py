"""Grouping hosts: planted groups, silhouettes by hand, refusals, repeats, and the real morning of 9 July 1995."""

import json
import random
from math import dist
from pathlib import Path

import pytest
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts import pipelines
from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import BisectingKMeans, GaussianMixture, KMeans, combinations
from contracts.settings import Settings
from spark_apps.io import model_runs, registry, tracking
from spark_apps.io.pointers import Snapshot
from spark_apps.ml import algorithms, families, features, training
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.clustering import fitting, judging, profiles, silhouettes, space
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.splitting import splits
from spark_apps.transforms import access_log
from tests.unit.lake.test_access_log_parser import log_file

pytestmark = pytest.mark.spark

SPEC = pipelines.load("access_log_visitors")
KINDS = {
    # requests, resources, mean bytes, sessions, requests a session, busiest minute; images, pages, unchanged
    "people": (9, 8, 15_000, 1, 9, 6, 0.75, 0.2, 0.05),
    "crawlers": (60, 58, 50_000, 2, 30, 3, 0.02, 0.9, 0.0),
    "proxies": (400, 120, 20_000, 12, 33, 15, 0.5, 0.35, 0.2),
}


def spec(*asked: KMeans | BisectingKMeans | GaussianMixture, share: float = 0.02, **changes: object) -> PipelineSpec:
    """The shipped pipeline with other algorithms."""
    gate = SPEC.gate.model_copy(update={"min_cluster_share": share})
    return SPEC.model_copy(update={"algorithms": asked, "gate": gate, **changes})


def hosts(spark, sizes: dict[str, int]) -> DataFrame:
    """Hosts of each kind, every number of a kind within a tenth of it; named after their kind."""
    chance = random.Random(1)  # noqa: S311 - a seed, no secret
    rows = [
        (f"{kind}-{n}", *[float(value) * chance.uniform(0.9, 1.1) for value in KINDS[kind]])
        for kind, number in sizes.items()
        for n in range(number)
    ]
    return spark.createDataFrame(rows, ["host", *SPEC.features.columns])


@pytest.fixture(scope="module")
def planted(_spark_session) -> DataFrame:
    return hosts(_spark_session, {"people": 160, "crawlers": 60, "proxies": 40})


@pytest.fixture(scope="module")
def morning(_spark_session, samples) -> DataFrame:
    """Hosts of the real morning; collected once, used by every test below."""
    rows = access_log.parse(log_file(_spark_session, samples / "nasa_http" / "access_09jul1995_am.log")).withColumns(
        {"kafka_partition": F.lit(0), "kafka_offset": F.monotonically_increasing_id()}
    )
    built = features.trainable(features.build(rows, SPEC), SPEC)
    return _spark_session.createDataFrame(built.collect(), built.schema)


SEARCHED = spec(
    KMeans(name="kmeans", k=(2, 3), starts=1), BisectingKMeans(name="bisecting_kmeans", k=3),
    search=SPEC.search.model_copy(update={"folds": 2}),
)  # fmt: skip
#: Nothing to choose, so that it is fitted in a tenth of the time.
ALONE = spec(KMeans(name="kmeans", k=3, starts=2), search=None)


@pytest.fixture(scope="module")
def fitted(planted) -> Fitted:
    return families.fit_and_rate(planted, splits.of(planted, SEARCHED), SEARCHED)


@pytest.fixture(scope="module")
def alone(planted) -> Fitted:
    return families.fit_and_rate(planted, splits.of(planted, ALONE), ALONE)


def kinds_of(model, rows: DataFrame) -> dict[int, set[str]]:
    """Kinds of hosts in each group."""
    kind = F.substring_index("host", "-", 1)
    found = model.transform(rows).groupBy(PREDICTION).agg(F.collect_set(kind).alias("kinds")).collect()
    return {row[PREDICTION]: set(row["kinds"]) for row in found}


def test_planted_groups_are_found_and_called_by_what_they_are_like(planted, fitted):
    split = splits.of(planted, SEARCHED)
    assert isinstance(split, splits.RandomBounds)
    found = kinds_of(fitted.model, split.holdout(planted))
    assert sorted(found.values(), key=min) == [{"crawlers"}, {"people"}, {"proxies"}]
    assert fitted.chosen["k"] == 3
    assert [each.rows for each in fitted.profiles] == sorted((each.rows for each in fitted.profiles), reverse=True)
    assert sum(each.rows for each in fitted.profiles) == split.train_rows
    assert sum(each.share for each in fitted.profiles) == pytest.approx(1.0)
    likes = {next(iter(found[each.cluster])): each for each in fitted.profiles}
    assert likes["people"].means["requests"] == pytest.approx(9, abs=0.2)
    assert likes["crawlers"].means["page_share"] == pytest.approx(0.9, abs=0.02)
    assert list(likes["proxies"].means) == SPEC.features.columns


def test_everybody_is_measured_on_the_same_rows_and_baselines_have_as_many_groups(planted, fitted):
    rows = splits.of(planted, SEARCHED).holdout_rows
    last = "bisecting_kmeans" if fitted.algorithm == "kmeans" else "kmeans"
    assert list(fitted.errors) == ["by_requests", "by_image_share", last, "candidate"]
    assert {measures.rows for measures in fitted.errors.values()} == {rows}
    assert {name: fitted.errors[name].clusters for name in ("by_requests", "candidate")} == {
        "by_requests": 3, "candidate": 3,
    }  # fmt: skip
    # Thirds of the training rows, where the kinds are 8, 3 and 2 of 13.
    assert fitted.errors["by_requests"].largest_share == pytest.approx(1 / 3, abs=0.1)
    assert fitted.errors["candidate"].silhouette > 0.9
    assert fitted.errors["by_requests"].silhouette < 0.5


def test_the_paired_test_is_about_the_rows_of_the_holdout(planted, fitted):
    split = splits.of(planted, SEARCHED)
    judged = families.judge(split.train(planted), split.holdout(planted), {"version 1": fitted.model}, SEARCHED)
    assert judged.measures()["version 1"] == fitted.errors["candidate"]
    test = judged.against("version 1", "by_requests")
    lost = fitted.errors["by_requests"].silhouette - fitted.errors["candidate"].silhouette
    assert (test.mean, test.blocks) == (pytest.approx(lost, abs=1e-9), split.holdout_rows)
    assert test.high < 0
    assert judged.against("by_requests", "version 1").low > 0


def test_a_repeat_on_rows_spread_differently_agrees_to_1e_9(planted, alone):
    other = planted.repartition(5, "image_share").sort(F.desc("bytes_mean"))
    again = families.fit_and_rate(other, splits.of(other, ALONE), ALONE)
    assert (again.algorithm, again.chosen) == (alone.algorithm, alone.chosen)
    for name, measures in alone.errors.items():
        assert again.errors[name].numbers() == pytest.approx(measures.numbers(), abs=1e-9)
    assert [each.rows for each in again.profiles] == [each.rows for each in alone.profiles]


def test_the_holdout_does_not_touch_the_fit(planted, alone):
    split = splits.of(planted, ALONE)
    requests = F.when(split.is_holdout, F.pmod(F.hash("host"), F.lit(999)) + 1.0).otherwise(F.col("requests"))
    again = families.fit_and_rate(planted.withColumn("requests", requests), split, ALONE)
    assert again.profiles == alone.profiles
    assert again.errors["candidate"].silhouette < alone.errors["candidate"].silhouette


def test_a_silhouette_is_what_a_count_of_all_distances_gives(spark):
    places = {"a": [(0.0, 0.0), (1.0, 0.0), (0.0, 2.0)], "b": [(5.0, 5.0), (6.0, 5.0)], "c": [(9.0, -3.0)]}
    rows = [(place, number) for number, group in enumerate(places.values()) for place in group]

    def away(place, group):
        return sum(dist(place, other) ** 2 for other in group)

    expected = []
    for place, number in rows:
        groups = list(places.values())
        own = away(place, groups[number]) / max(len(groups[number]) - 1, 1)
        following = min(away(place, group) / len(group) for n, group in enumerate(groups) if n != number)
        expected.append(0.0 if len(groups[number]) == 1 else (following - own) / max(own, following))
    frame = spark.createDataFrame(
        [(n, Vectors.dense(place), group, 0) for n, (place, group) in enumerate(rows)],
        ["n", space.VECTOR, "mine", "single"],
    )
    found, values = silhouettes.measure(frame, {"mine": 3, "single": 2})
    assert [row.mine for row in values.orderBy("n").collect()] == pytest.approx(expected)
    assert found["mine"].numbers() == pytest.approx(
        {"silhouette": sum(expected) / 6, "clusters": 3, "smallest_share": 1 / 6, "largest_share": 0.5}
    )
    by_spark = ClusteringEvaluator(featuresCol=space.VECTOR, predictionCol="mine").evaluate(frame)
    assert found["mine"].silhouette == pytest.approx(by_spark)
    # One group tells nothing apart, and the second of the two that were expected is empty.
    assert found["single"].numbers() == {"silhouette": 0.0, "clusters": 1, "smallest_share": 0.0, "largest_share": 1.0}
    assert silhouettes.measure(frame.limit(1), {"mine": 1})[0]["mine"].silhouette == 0.0
    with pytest.raises(ValueError, match="no rows"):
        silhouettes.measure(frame.limit(0), {"mine": 3})


def test_a_group_of_next_to_nobody_is_refused_and_the_search_goes_on(spark):
    frame = hosts(spark, {"people": 160, "crawlers": 60, "proxies": 9})
    asked = spec(KMeans(name="kmeans", k=(2, 3), starts=2), share=0.1)
    two, three = fitting.search(frame, asked, asked.search)
    assert (two.state, three.state) == ("done", "failed")
    assert "the smallest of 3 clusters holds" in three.problem
    assert "less than gate.min_cluster_share 10.0%; the largest holds" in three.problem
    # Without the demand the three kinds are found, and are further apart than the two.
    small = spec(KMeans(name="kmeans", k=(2, 3), starts=2), share=0.001)
    two, three = fitting.search(frame, small, small.search)
    assert three.loss < two.loss
    none = spec(KMeans(name="kmeans", k=3, starts=1), share=0.3, search=asked.search)
    with pytest.raises(QualityGateError, match=r"no trial that ended well: ValueError: the smallest of 3 clusters"):
        families.fit_and_rate(frame, splits.of(frame, none), none)


@pytest.mark.parametrize("rows", [0, 1])
def test_no_host_and_one_host_are_not_enough(spark, rows):
    frame = hosts(spark, {"people": rows}) if rows else hosts(spark, {"people": 1}).limit(0)
    split = splits.of(frame, SPEC)
    assert split.train_rows + split.holdout_rows == rows
    assert "200 and 50 are required" in training.lacking_rows(split, SPEC)


def test_what_is_stored_is_what_was_fitted(planted, fitted, tmp_path):
    settings = Settings(state=tmp_path / "state", mlflow_uri=f"sqlite:///{tmp_path}/mlflow.db")
    snapshot = Snapshot(
        name=SPEC.snapshot_name, hash="c" * 64, rows=260, path="", key=("host",), provenance={"table_version": 3}
    )
    split = splits.of(planted, SEARCHED)
    tags = model_runs.origin(SEARCHED, snapshot, split, fitted, revision="abc", run_key="dag/run/train/-1")
    with tracking.connected(settings) as client:
        version = model_runs.register(
            client, settings, SEARCHED, fitted, split.train(planted), tags=tags, run_name="run"
        )
        found = registry.by_number(client, SPEC.name, version.version)
        stored = json.loads(Path(client.download_artifacts(version.run_id, "clusters.json")).read_text())["clusters"]
        model = model_runs.load(settings, found)
    assert found.split == split
    assert found.can_answer(SEARCHED, planted.columns)
    assert stored == [profile.model_dump() for profile in fitted.profiles]
    ours, theirs = (
        each.transform(planted).select("host", PREDICTION).orderBy("host").collect() for each in (fitted.model, model)
    )
    assert ours == theirs
    holdout = split.holdout(planted)
    judged = families.judge(split.train(planted), holdout, {found.label: model}, SEARCHED).measures()
    assert judged[found.label].numbers() == pytest.approx(fitted.errors["candidate"].numbers(), abs=1e-9)


def silhouette_of(rows: DataFrame, algorithm) -> float:
    """Fitted on the training part, judged on the holdout; Spark's own evaluator must agree."""
    split = splits.of(rows, SPEC)
    model = fitting.fit(split.train(rows), SPEC, algorithm, next(combinations(algorithm)))
    judged = judging.judge(split.train(rows), split.holdout(rows), {"x": model}, SPEC).measures()["x"]
    placed = space.fit(algorithms.ordered(split.train(rows), SPEC), SPEC).transform(split.holdout(rows))
    evaluator = ClusteringEvaluator(featuresCol=space.VECTOR, predictionCol=PREDICTION)
    assert judged.silhouette == pytest.approx(evaluator.evaluate(model.stages[-1].transform(placed)), abs=1e-9)
    return judged.silhouette


@pytest.mark.parametrize(
    ("algorithm", "golden"),
    [
        (KMeans(name="kmeans", k=4), 0.6444698443),
        (BisectingKMeans(name="bisecting_kmeans", k=4), 0.6444698443),
        (GaussianMixture(name="gaussian_mixture", k=4), 0.7460451737),
    ],
)
def test_each_algorithm_groups_planted_hosts_as_it_did_before(planted, algorithm, golden):
    assert silhouette_of(planted, algorithm) == pytest.approx(golden, abs=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "golden"),
    [
        (KMeans(name="kmeans", k=4), 0.5685610721),
        (BisectingKMeans(name="bisecting_kmeans", k=4), 0.4487577543),
        (GaussianMixture(name="gaussian_mixture", k=4), 0.2297629032),
    ],
)
def test_each_algorithm_groups_the_real_hosts_as_it_did_before(morning, algorithm, golden):
    assert silhouette_of(morning, algorithm) == pytest.approx(golden, abs=1e-6)


@pytest.mark.long
def test_proxies_that_are_known_by_name_lie_in_one_group_of_the_real_hosts(morning):
    split = splits.of(morning, SPEC)
    [algorithm] = [each for each in SPEC.algorithms if each.name == "kmeans"]
    chosen = next(combinations(algorithm.model_copy(update={"k": 5})))
    model = fitting.fit(split.train(morning), SPEC, algorithm, chosen)
    found = profiles.of(model, morning, SPEC.features.columns)
    # The proxies of two large providers of 1995, and the only host that asked for robots.txt; no model sees a name.
    is_proxy = F.col("host").rlike(r"\.(?:prodigy|proxy\.aol)\.com$")
    named = {
        row[PREDICTION]: (row.proxies, row.crawlers)
        for row in model.transform(morning)
        .groupBy(PREDICTION)
        .agg(
            F.count_if(is_proxy).alias("proxies"),
            F.count_if(F.col("host") == "info-server.surrey.ac.uk").alias("crawlers"),
        )
        .collect()
    }
    for each in found:
        print(each.cluster, each.rows, named[each.cluster], {k: round(v, 2) for k, v in each.means.items()})  # noqa: T201
    returning = max(found, key=lambda each: each.means["sessions"])
    reading = max(found, key=lambda each: each.means["page_share"])
    assert named[returning.cluster][0] > returning.rows / 2
    assert all(named[each.cluster][0] < each.rows / 10 for each in found if each is not returning)
    assert named[reading.cluster][1] == 1
    assert reading.means["image_share"] < 0.25
