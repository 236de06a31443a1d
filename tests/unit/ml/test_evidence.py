"""Bootstrap intervals, subgroups and curves of a model, its pictures, and the card that shows them."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyspark.ml import PipelineModel
from sklearn.metrics import roc_auc_score, roc_curve

from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines import PIPELINES, PipelineSpec, load
from spark_apps.io import model_card, plots
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring import evidence
from spark_apps.ml.measuring.evidence import Evidence, Interval, Point, Subgroup
from spark_apps.ml.measuring.regression_errors import Errors


def spec(name: str, **changes: object) -> PipelineSpec:
    return PipelineSpec.model_validate(yaml.safe_load((PIPELINES / f"{name}.yaml").read_text()) | changes)


def scored(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that rank them with much overlap."""
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 2, n)
    return labels, np.clip(0.5 + 0.15 * (labels - 0.5) + 0.2 * chance.normal(size=n), 0.01, 0.99)


@pytest.mark.spark
def test_the_interval_of_an_area_is_that_of_rows_drawn_again(spark):
    labels, scores = scored()
    rows = [("a", n, int(label), float(score)) for n, (label, score) in enumerate(zip(labels, scores, strict=True))]
    frame = spark.createDataFrame(rows, "source_sha256 string, source_line bigint, label int, by_x double")
    found = evidence.of(frame, "by_x", spec("higgs"))
    chance = np.random.default_rng(1)
    drawn = [chance.integers(len(labels), size=len(labels)) for _ in range(500)]
    low, high = np.quantile([roc_auc_score(labels[each], scores[each]) for each in drawn], [0.025, 0.975])
    assert (found.interval.low, found.interval.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    wrong, right, _ = roc_curve(labels, scores, drop_intermediate=False)
    for point in found.curves["roc"]:
        assert np.min(np.abs(wrong - point.x) + np.abs(right - point.y)) < 0.02
    assert sum(point.rows for point in found.curves["reliability"]) == 400


@pytest.mark.spark
def test_errors_are_drawn_by_blocks_and_measured_by_site(spark):
    days = "to_timestamp('2014-01-01') + make_dt_interval(CAST(id / 96 AS INT))"
    # Site b errs ten times as much, and all quarters of a day err alike: days, not quarters, are what is drawn.
    frame = spark.range(9600).selectExpr(
        "IF(id % 2 = 0, 'a', 'b') AS site", f"{days} AS starts_at", "100.0D AS flow",
        "100D + IF(id % 2 = 0, 1, 10) * (1 + hash(CAST(id / 96 AS INT)) % 2) AS by_x",
    )  # fmt: skip
    found = evidence.of(frame, "by_x", spec("uk_traffic"))
    by_site = {each.value: each for each in found.subgroups}
    assert by_site["b"].measure == pytest.approx(10 * by_site["a"].measure)
    assert (by_site["a"].rows, evidence.gap(found.subgroups, "site")) == (
        4800, pytest.approx(9 * by_site["a"].measure))  # fmt: skip
    mean = (by_site["a"].measure + by_site["b"].measure) / 2
    assert found.interval.low < mean < found.interval.high
    # A hundred days in two sites: the half width of 200 blocks is far above that of 9,600 rows.
    assert found.interval.high - found.interval.low > 0.1 * mean
    assert [point.x for point in found.curves["reliability"]] == sorted(p.x for p in found.curves["reliability"])


@pytest.mark.spark
def test_an_error_that_is_not_the_same_both_ways_is_drawn_as_it_is_measured(spark):
    frame = spark.range(1920).selectExpr(
        "'a' AS site", "to_timestamp('2014-01-01') + make_dt_interval(CAST(id / 96 AS INT)) AS starts_at",
        "IF(id % 4 = 0, 10D, 0D) AS flow", "5D AS by_x",
    )  # fmt: skip
    asked = spec("uk_traffic")
    gate = asked.gate.model_copy(update={"metric": "poisson_deviance"})
    found = evidence.of(frame, "by_x", asked.model_copy(update={"gate": gate})).interval
    # Of 10 forecast as 5 it is 2 (10 ln 2 - 5), of 0 it is 10; every day is alike.
    assert (found.low, found.high) == pytest.approx([(20 * math.log(2) - 10 + 3 * 10) / 4] * 2)


@pytest.mark.spark
def test_a_column_of_too_many_values_is_refused(spark):
    frame = spark.range(500).selectExpr(
        "CAST(id AS string) AS site", "to_timestamp('2014-01-01') AS starts_at", "1.0D AS flow", "1.0D AS by_x"
    )
    with pytest.raises(QualityGateError, match="more than 100 values of site"):
        evidence.of(frame, "by_x", spec("uk_traffic"))


@pytest.mark.spark
def test_a_group_of_one_class_has_no_area(spark):
    labels, scores = scored(60)
    rows = [("ab"[n % 3 == 0], n, int(label) if n % 3 else 1, float(score))
            for n, (label, score) in enumerate(zip(labels, scores, strict=True))]  # fmt: skip
    frame = spark.createDataFrame(rows, "source_sha256 string, source_line bigint, label int, by_x double")
    found = evidence.of(frame, "by_x", spec("higgs", subgroups=["source_sha256"]))
    assert {each.value: each.measure is None for each in found.subgroups} == {"a": False, "b": True}
    assert evidence.gap(found.subgroups, "source_sha256") is None


def card(tmp_path: Path, name: str = "<b>x</b>") -> str:
    errors = Errors(rows=10, mae=1.5, rmse=2.0, poisson_deviance=0.5, r2=0.9, bias=0.1)
    shown = Evidence(
        interval=Interval(metric="mae", low=1.4, high=1.6),
        subgroups=(Subgroup(column="site", value=name, rows=4, measure=1.0),
                   Subgroup(column="site", value="z", rows=6, measure=2.0)),
        curves={"reliability": (Point(x=1, y=2, rows=3), Point(x=4, y=4, rows=7))},
    )  # fmt: skip
    baselines = dict.fromkeys(load("uk_traffic").baseline_names, errors)
    everybody = {**baselines, "candidate": errors}
    fitted = Fitted(PipelineModel([]), ["lag_1"], everybody, "gbt", {"max_depth": 6}, [], shown)
    origin = {
        "snapshot": "features.uk_traffic/abc", "git_revision": "0123", "spec_hash": "ff", "seed": "42",
        "fit_partitions": "4", "snapshot_provenance": json.dumps({"dataset": "bronze.traffic_counts"}),
    }  # fmt: skip
    return model_card.page(load("uk_traffic"), fitted, origin, plots.draw(shown, tmp_path))


def test_the_card_shows_interval_groups_and_pictures_and_escapes_what_data_says(tmp_path):
    made = card(tmp_path)
    assert "mae is between 1.4 and 1.6 in 95 %" in made
    assert "Between the values of site mae differs by up to 1." in made
    assert "<b>x</b>" not in made
    assert "&lt;b&gt;x&lt;/b&gt;" in made
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == ["by_site.png", "reliability.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    assert len(re.findall(r'src="data:image/png;base64,', made)) == 2
    assert "features.uk_traffic/abc" in made


@pytest.mark.parametrize(("name", "columns"), [("uk_traffic", ["county"]), ("access_log_visitors", ["host"])])
def test_a_wrong_subgroup_is_refused(tmp_path, name, columns):
    said = yaml.safe_load((PIPELINES / f"{name}.yaml").read_text()) | {"name": "wrong", "subgroups": columns}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError, match="field subgroups"):
        load("wrong", tmp_path)
