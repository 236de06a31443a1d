"""Fit a candidate on the older part of a snapshot and rate it, with everyone it must beat, on the newest."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml import algorithms, features, metrics
from spark_apps.ml.metrics import Errors
from spark_apps.ml.splits import Split

#: Name of the model just fitted, in the table of errors.
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Fitted:
    """A model, the columns it reads, the mean of its training label, and errors by predictor, baselines first."""

    model: PipelineModel
    columns: list[str]
    train_mean: float
    errors: dict[str, Errors]


def lacking_rows(split: Split | None, spec: PipelineSpec) -> str:
    """What is missing for a training that means something; empty where nothing is."""
    train, holdout = (split.train_rows, split.holdout_rows) if split else (0, 0)
    if train >= spec.split.min_train_rows and holdout >= spec.split.min_holdout_rows:
        return ""
    return (
        f"{train} rows to train on and {holdout} to judge on; "
        f"{spec.split.min_train_rows} and {spec.split.min_holdout_rows} are required"
    )


def fit_and_rate(frame: DataFrame, split: Split, spec: PipelineSpec) -> Fitted:
    """Fit on ``split.train`` only, then rate on all rows of ``split.holdout``; ``frame`` is a feature snapshot."""
    train = split.train(frame)
    columns = features.model_columns(spec, split.train_rows)
    model = algorithms.fit(train, spec, columns)
    train_mean = float(train.agg(F.avg(spec.label)).collect()[0][0])
    return Fitted(model, columns, train_mean, rate(split.holdout(frame), {CANDIDATE: model}, spec, train_mean))


def rate(
    holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec, train_mean: float
) -> dict[str, Errors]:
    """Errors of the spec's baselines and of each model, in this order, on the same rows."""
    rated = holdout
    for name, model in models.items():
        # A model brings columns of its own; only its prediction stays, so that the next one finds no stranger.
        rated = model.transform(rated).select(*rated.columns, F.col(algorithms.PREDICTION).alias(f"by_{name}"))
    predictors = {**metrics.baselines(spec, train_mean), **{name: F.col(f"by_{name}") for name in models}}
    return metrics.regression(rated, label=spec.label, predictors=predictors)
