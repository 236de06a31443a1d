"""How good predictors are on all rows they are given: errors of numbers, or scores of probabilities, by task."""

from collections.abc import Mapping
from math import isfinite

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.parts import AREAS, Metric
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring import binary_scores, regression_errors
from spark_apps.ml.measuring.regression_errors import Errors
from spark_apps.ml.recommending.measures import ListScores


class Probabilities(BaseModel):
    """Scores of one predictor of the probability of class 1; ``ece`` in 10 bins of equal width.

    ``ece_limit`` is the 95 % point of the ECE that a perfectly calibrated model with these scores would show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    roc_auc: float
    roc_auc_sd: float
    pr_auc: float
    log_loss: float
    brier: float
    ece: float
    ece_limit: float

    def numbers(self) -> dict[str, float]:
        """The scores by name, without rows and without what could not be computed."""
        return {name: value for name, value in self.model_dump(exclude={"rows"}).items() if isfinite(value)}


Measures = Errors | Probabilities | ListScores | Clusters


def measure(frame: DataFrame, spec: PipelineSpec, predictors: Mapping[str, Column]) -> dict[str, Measures]:
    """Measures of each predictor on all rows of ``frame``, in the given order; label and predictions hold no nulls."""
    if spec.task == "regression":
        return {**regression_errors.measure(frame, label=spec.label, predictors=predictors)}
    return {
        name: _probabilities(frame.select(F.col(spec.label).alias("label"), score.cast("double").alias("score")))
        for name, score in predictors.items()
    }


def loss_of(frame: DataFrame, spec: PipelineSpec, prediction: Column, metric: Metric) -> float:
    """The loss of one predictor by one metric."""
    return _lost(value_of(frame, spec, prediction, metric), metric)


def value_of(frame: DataFrame, spec: PipelineSpec, prediction: Column, metric: Metric) -> float:
    """One metric of one predictor, without the time that all measures take."""
    if spec.task == "regression":
        return float(getattr(measure(frame, spec, {"x": prediction})["x"], metric))
    scored = frame.select(F.col(spec.label).alias("label"), prediction.cast("double").alias("score"))
    return float(getattr(binary_scores, metric)(binary_scores.count(scored, label="label", score="score")))


def loss(measures: Measures, metric: Metric) -> float:
    """The metric as something to make small: what an area under a curve lacks to 1, an error as it is."""
    return _lost(float(getattr(measures, metric)), metric)


def _lost(value: float, metric: Metric) -> float:
    return 1 - value if metric in AREAS else value


def skill(loss: float, baseline_loss: float) -> float:
    """``1 - loss / baseline loss``: 0 is as good as the baseline, 1 perfect; 0 beside a perfect baseline."""
    return 1 - loss / baseline_loss if baseline_loss > 0 else 0.0


def table(measures: Mapping[str, Measures], spec: PipelineSpec) -> list[dict[str, float | str | None]]:
    """Rows for people: predictor, measures, and skill by the gate's metric against its baseline; baselines first."""
    metric, baseline = spec.gate.metric, spec.gate.baseline
    reference = loss(measures[baseline], metric)
    return [
        {"predictor": name, **one.model_dump(), f"skill_vs_{baseline}": skill(loss(one, metric), reference)}
        for name, one in measures.items()
    ]


def _probabilities(scored: DataFrame) -> Probabilities:
    counted = binary_scores.count(scored, label="label", score="score")
    return Probabilities(
        rows=int(counted.rows), roc_auc=binary_scores.roc_auc(counted), roc_auc_sd=binary_scores.roc_auc_sd(counted),
        pr_auc=binary_scores.pr_auc(counted), log_loss=binary_scores.log_loss(counted),
        brier=binary_scores.brier(counted), ece=binary_scores.ece(counted),
        ece_limit=binary_scores.perfect_ece(counted, 0.95),
    )  # fmt: skip
