"""Estimators by name, in a session that did other work before."""

import pytest
import yaml
from pyspark.sql import Observation
from pyspark.sql import functions as F

from contracts.pipelines import PIPELINES, PipelineSpec
from spark_apps.ml import algorithms

pytestmark = pytest.mark.spark

COLUMNS = ["m_bb", "m_jj"]


def spec(algorithm: str) -> PipelineSpec:
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    del said["calibration"], said["search"]
    said["features"] = {"kind": "table", "numeric": COLUMNS}
    said["split"] |= {"twin_columns": [], "twin_distance": 0.0}
    said["algorithms"] = [{"name": algorithm}]
    return PipelineSpec.model_validate(said)


@pytest.mark.parametrize("algorithm", ["logistic_regression", "linear_svc", "random_forest"])
def test_a_model_predicts_in_a_session_that_was_observed(spark, algorithm):
    rows = spark.createDataFrame(
        [("a", line, line % 2, line % 5 + 2.0 * (line % 2), line % 3 + 0.5) for line in range(60)],
        "source_sha256 string, source_line bigint, label int, m_bb double, m_jj double",
    )
    seen = Observation()
    assert rows.observe(seen, F.count("*").alias("n")).count() == seen.get["n"] == 60
    asked = spec(algorithm)
    said = algorithms.fit(rows, asked, COLUMNS, asked.algorithms[0], {}).transform(rows)
    assert said.where(F.col(algorithms.PREDICTION) == F.col("label")).count() > 40
