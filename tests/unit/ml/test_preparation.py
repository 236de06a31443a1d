"""What a vector holds: logarithms, products, filled numbers, and the entries that a selection keeps."""

import math

import pytest
import yaml
from pyspark.ml import Pipeline, Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES, PipelineSpec, load
from spark_apps.ml import algorithms, audit, preparation

COLUMNS = "source_sha256 string, source_line bigint, label int, m_bb double, m_jj double, m_lv double, m_jlv double"


def spec(features: dict, **changes: object) -> PipelineSpec:
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    del said["calibration"], said["search"]
    said["split"] |= {"twin_columns": [], "twin_distance": 0.0}
    said["algorithms"] = [{"name": "logistic_regression"}]
    return PipelineSpec.model_validate(said | {"features": {"kind": "table", **features}} | changes)


def vectors(frame: DataFrame, asked: PipelineSpec) -> list[list[float]]:
    stages = preparation.stages(asked, asked.features.columns, asked.algorithms[0])
    made = Pipeline(stages=stages).fit(frame).transform(frame).orderBy("source_line")
    return [row[0].toArray().tolist() for row in made.select(preparation.VECTOR).collect()]


@pytest.fixture
def rows(spark) -> DataFrame:
    """The label is m_jj above 4; m_lv is nearly that, m_bb noise, m_jlv the same everywhere."""
    made = [("a", n, int(n % 10 > 4), float(n * 7 % 5), n % 10 + 0.1, float(n % 10 + n % 3), 2.0) for n in range(60)]
    return spark.createDataFrame(made, COLUMNS)


@pytest.mark.spark
def test_logarithms_and_products_are_made_of_the_numbers_named(spark, rows):
    asked = spec({"numeric": ["m_bb", "m_jj"], "logs": ["m_bb"], "products": [["m_bb", "m_jj"]]})
    found = vectors(rows.where("source_line IN (0, 3)"), asked)
    assert found == [[0.0, 0.1, 0.0], [math.log1p(1.0), 3.1, pytest.approx(math.log1p(1.0) * 3.1)]]


@pytest.mark.spark
def test_a_product_of_a_missing_number_is_made_of_what_fills_it(spark):
    made = [("a", 0, 0, None, 3.0, 0.0, 0.0), ("a", 1, 1, 2.0, 5.0, 0.0, 0.0), ("a", 2, 1, 4.0, 5.0, 0.0, 0.0)]
    asked = spec({"numeric": ["m_bb", "m_jj"], "impute": "mean", "products": [["m_jj", "m_bb"]]})
    assert vectors(spark.createDataFrame(made, COLUMNS), asked)[0] == [3.0, 3.0, 9.0]


@pytest.mark.spark
@pytest.mark.parametrize(("select", "kept"), [
    ({"by": "variance", "above": 3.0}, [1, 2]), ({"by": "test", "top": 2}, [1, 2]),
    ({"by": "importance", "top": 1}, [1]),
])  # fmt: skip
def test_a_selection_keeps_what_scores_highest(spark, rows, select, kept):
    numeric = ["m_bb", "m_jj", "m_lv", "m_jlv"]
    whole = vectors(rows, spec({"numeric": numeric}))
    assert vectors(rows, spec({"numeric": numeric, "select": select})) == [[row[n] for n in kept] for row in whole]


@pytest.mark.spark
def test_categories_are_selected_by_chi_squared(spark):
    made = [("a", n, n % 2, 0.0, 0.0, 0.0, 0.0, "abc"[n % 2], "xyz"[n // 2 % 3]) for n in range(60)]
    frame = spark.createDataFrame(made, f"{COLUMNS}, tells string, noise string")
    asked = spec({"categories": ["source_file", "source_sha256"], "select": {"by": "test", "top": 2}})
    named = frame.withColumnsRenamed({"tells": "source_file", "source_sha256": "x", "noise": "source_sha256"})
    found = vectors(named, asked)
    assert found[0] == [1.0, 0.0]
    assert found[1] == [0.0, 1.0]


@pytest.mark.spark
@pytest.mark.parametrize("is_early", [False, True])
def test_a_selection_that_saw_the_holdout_is_found_out(spark, rows, is_early):
    asked = spec({"numeric": ["m_bb", "m_jj", "m_lv"], "select": {"by": "variance", "above": 4.0}})
    pipeline = Pipeline(stages=preparation.stages(asked, asked.features.columns, asked.algorithms[0]))
    frame = rows.withColumn("is_holdout", F.col("source_line") >= 40)

    def fit(given: DataFrame) -> Transformer:
        return pipeline.fit(given if is_early else given.where("NOT is_holdout"))

    found = audit.early_fits(frame, fit, features=["m_bb", "m_jj", "m_lv"], label="label", probe_rows=20)
    assert [finding.kind for finding in found] == (["early_fit"] if is_early else [])


@pytest.mark.spark
def test_ten_thousand_columns_stay_sparse(spark):
    """Five categories of 2,000 values each: a vector of 10,000 entries of which five are stored."""
    made = [("a", n, n % 2, *(f"{(n * step) % 2000}" for step in (1, 3, 7, 11, 13))) for n in range(2000)]
    names = ["source_file", "c2", "c3", "c4", "c5"]
    frame = spark.createDataFrame(made, ["source_sha256", "source_line", "label", *names])
    asked = spec({"categories": ["source_file"]})
    asked = asked.model_copy(update={"features": asked.features.model_copy(update={"categories": tuple(names)})})
    model = algorithms.fit(frame, asked, names, asked.algorithms[0], {"max_iter": 2})
    vector = model.transform(frame).select(preparation.VECTOR).first()[0]
    assert len(vector) >= 10_000
    assert vector.numNonzeros() == 5


@pytest.mark.parametrize(("features", "field"), [
    ({"numeric": ["m_bb"], "logs": ["m_jj"]}, "features"),
    ({"numeric": ["m_bb"], "products": [["m_bb", "m_jj"]]}, "features"),
    ({"numeric": ["m_bb"], "select": {"by": "luck", "top": 1}}, "features.select.by"),
    ({"numeric": ["m_bb"], "select": {"by": "variance", "top": 1}}, "features.select"),
    ({"numeric": ["m_bb"], "select": {"by": "test", "top": 0}}, "features.select.top"),
])  # fmt: skip
def test_wrong_features_are_refused_with_their_field(tmp_path, features, field):
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    said["split"] |= {"twin_columns": [], "twin_distance": 0.0}
    said |= {"name": "wrong", "features": {"kind": "table", **features}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError) as caught:
        load("wrong", tmp_path)
    assert f"field {field}" in str(caught.value).splitlines()[0]
