"""Remedies that a pipeline names: done to training rows alone, and probabilities that mean the true share again."""

import pytest
import yaml
from pyspark.ml import PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES, PipelineSpec, load
from contracts.pipelines.parts import Imbalance
from spark_apps.ml import algorithms, remedies
from spark_apps.ml.answers import answer

METHODS = ("weights", "undersample", "oversample", "smote")


def spec(method: str, **changes: object) -> PipelineSpec:
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    del said["calibration"], said["search"]
    said["features"] = {"kind": "table", "numeric": ["m_bb", "m_jj", "m_lv"]}
    said["split"] |= {"twin_columns": [], "twin_distance": 0.0}
    said["algorithms"] = [{"name": "logistic_regression"}]
    return PipelineSpec.model_validate(said | {"imbalance": {"method": method}} | changes)


def rows(spark, n: int = 420) -> DataFrame:
    """One in seven of class 1, where m_bb is larger, with much overlap; m_jj varies a thousand times as much."""
    made = [
        ("a", line, int(line % 7 == 0), line % 11 + 4.0 * (line % 7 == 0), 1000.0 * (line % 13), 1.5)
        for line in range(n)
    ]  # fmt: skip
    return spark.createDataFrame(
        made, "source_sha256 string, source_line bigint, label int, m_bb double, m_jj double, m_lv double"
    )


def prepared(frame: DataFrame) -> DataFrame:
    return VectorAssembler(inputCols=["m_bb", "m_jj", "m_lv"], outputCol="features").transform(frame)


@pytest.mark.spark
@pytest.mark.parametrize(("method", "ones", "zeros"), [
    ("weights", 60, 360), ("undersample", 60, 120), ("oversample", 180, 360), ("smote", 180, 360),
])  # fmt: skip
def test_a_remedy_makes_the_ratio_it_is_asked_for(spark, method, ones, zeros):
    asked = spec(method, imbalance={"method": method, "ratio": 0.5})
    made = remedies.apply(prepared(rows(spark)), asked)
    weight = F.col("weight") if method == "weights" else F.lit(1.0)
    counted = made.rows.groupBy("label").agg(F.count("*").alias("n"), F.sum(weight).alias("w")).collect()
    found = {row["label"]: row for row in counted}
    assert (found[1]["n"], found[0]["n"]) == (ones, zeros)
    assert found[1]["w"] / found[0]["w"] == pytest.approx(0.5)
    assert made.shift == remedies.PriorShift(trained_share=pytest.approx(1 / 3), true_share=60 / 420)


@pytest.mark.spark
@pytest.mark.parametrize("method", METHODS)
def test_probabilities_mean_the_true_share_and_a_repeat_is_the_same(spark, method, tmp_path):
    frame, asked = rows(spark), spec(method)
    models = [
        algorithms.fit(each, asked, ["m_bb", "m_jj", "m_lv"], asked.algorithms[0], {})
        for each in (frame, frame.repartition(5, "m_jj"))
    ]
    models[0].save(str(tmp_path / "model"))
    models.append(PipelineModel.load(str(tmp_path / "model")))
    said = [[row[0] for row in model.transform(frame).orderBy("source_line").select(
        answer(model.transform(frame), asked)).collect()] for model in models]  # fmt: skip
    assert sum(said[0]) / 420 == pytest.approx(60 / 420, abs=0.03)
    assert said[1] == pytest.approx(said[0], abs=1e-9)
    assert said[2] == said[0]


@pytest.mark.spark
def test_smote_measures_distances_where_features_vary_alike_and_comes_back(spark):
    made = remedies.apply(prepared(rows(spark)), spec("smote")).rows.where("label = 1")
    columns = [[float(row[0][n]) for row in made.select("features").collect()] for n in range(3)]
    assert (min(columns[0]), max(columns[0])) == (4.0, 14.0)
    assert (min(columns[1]), max(columns[1])) == (0.0, 12000.0)
    assert set(columns[2]) == {1.5}


@pytest.mark.spark
def test_as_sql_says_the_same_as_the_column(spark):
    shift = remedies.PriorShift(trained_share=0.5, true_share=1 / 21)
    frame = spark.createDataFrame([(n / 10,) for n in range(11)], "p double")
    found = frame.select(shift.apply(F.col("p")), F.expr(shift.as_sql("p"))).collect()
    assert [row[1] for row in found] == pytest.approx([row[0] for row in found], abs=1e-15)
    assert found[5][0] == pytest.approx(1 / 21)


def test_without_a_remedy_nothing_is_corrected():
    assert load("higgs").imbalance is None


@pytest.mark.parametrize(("change", "field"), [
    ({"imbalance": {"method": "magic"}}, "imbalance.method"),
    ({"imbalance": {"method": "weights", "ratio": 1.5}}, "imbalance.ratio"),
    ({"imbalance": {"method": "weights"}, "algorithms": [{"name": "linear_svc"}]}, "imbalance"),
    ({"imbalance": {"method": "smote"}, "features": {
        "kind": "table", "numeric": ["m_bb"], "categories": ["source_file"]}}, "imbalance.method"),
])  # fmt: skip
def test_a_wrong_remedy_is_refused_with_its_field(tmp_path, change, field):
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    del said["calibration"], said["search"]
    said |= {"algorithms": [{"name": "logistic_regression"}], "name": "wrong"}
    said["split"] |= {"twin_columns": [], "twin_distance": 0.0}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(said | change))
    with pytest.raises(ConfigurationError) as caught:
        load("wrong", tmp_path)
    assert f"field {field}" in str(caught.value).splitlines()[0]


def test_a_ratio_is_a_share():
    assert Imbalance(method="weights").ratio == 1.0
