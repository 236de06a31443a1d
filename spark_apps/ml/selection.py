"""Which entries of a vector a model keeps. What is learned here is learned on the rows the model is fitted on."""

from typing import Any

from pyspark.ml import Estimator, Transformer
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import UnivariateFeatureSelector, VarianceThresholdSelector, VectorSlicer
from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Selection


class MostImportant(Estimator[VectorSlicer]):
    """Fits a forest and leaves a slicer for its ``top`` most important entries (Breiman, Machine Learning 45, 2001).

    Equal ones go by place. The entries keep their order.
    """

    def __init__(self, spec: PipelineSpec, top: int, source: str, into: str) -> None:
        super().__init__()
        self._spec, self._top, self._source, self._into = spec, top, source, into

    def _fit(self, dataset: DataFrame) -> VectorSlicer:
        kind = RandomForestClassifier if self._spec.task == "classification" else RandomForestRegressor
        attributes = dataset.schema[self._source].metadata.get("ml_attr", {}).get("attrs", {})
        most = max((len(each["vals"]) for each in attributes.get("nominal", []) if "vals" in each), default=32)
        forest = kind(
            featuresCol=self._source, labelCol=self._spec.label, seed=self._spec.seed, maxBins=max(32, most)
        ).fit(dataset)
        scores = forest.featureImportances.toArray()
        kept = sorted(sorted(range(len(scores)), key=lambda place: (-scores[place], place))[: self._top])
        return VectorSlicer(inputCol=self._source, outputCol=self._into, indices=kept)


def stages(asked: Selection, spec: PipelineSpec, source: str, into: str) -> list[Estimator[Any] | Transformer]:
    """The stage that makes the vector ``into`` of the vector ``source``."""
    if asked.by == "importance":
        return [MostImportant(spec, int(asked.top or 0), source, into)]
    if asked.by == "variance":
        threshold = float(asked.above or 0.0)
        return [VarianceThresholdSelector(featuresCol=source, outputCol=into, varianceThreshold=threshold)]
    chosen = UnivariateFeatureSelector(
        featuresCol=source, labelCol=spec.label, outputCol=into, selectionMode="numTopFeatures"
    )
    is_categorical = not spec.features.numeric
    made = chosen.setFeatureType("categorical" if is_categorical else "continuous")
    made = made.setLabelType("categorical" if spec.task == "classification" else "continuous")
    return [made.setSelectionThreshold(float(asked.top or 0))]
