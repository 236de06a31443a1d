"""The space that groups are found and judged in: counts as logarithms, every column with variance 1."""

from typing import Any

from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec

#: Name of the vector: the place of a row.
VECTOR = "features"


def fit(rows: DataFrame, spec: PipelineSpec) -> PipelineModel:
    """The way into the space, learned from ``rows`` without nulls; it adds VECTOR to rows that hold the features.

    A host with 200 requests is not twenty times as far away as one with ten, hence the logarithms. A column that never
    varies becomes 0. Distances are the same without the mean taken away, and Spark's bisecting k-means needs a centre
    that is not 0: it divides a group along a line of a length in proportion to that of its centre (BisectingKMeans,
    splitCenter), and centred rows stayed one group.
    """
    columns, counts = spec.features.columns, spec.features.counts
    said = [f"log1p({c}) AS in_{c}" if c in counts else f"double({c}) AS in_{c}" for c in columns]
    stages: list[Estimator[Any] | Transformer] = [
        SQLTransformer(statement=f"SELECT *, {', '.join(said)} FROM __THIS__"),
        VectorAssembler(inputCols=[f"in_{c}" for c in columns], outputCol="assembled", handleInvalid="error"),
        StandardScaler(inputCol="assembled", outputCol=VECTOR, withMean=False),
    ]
    # In one task: two would give the variance other last bits from run to run, which a mixture makes visible.
    return Pipeline(stages=stages).fit(rows.coalesce(1))
