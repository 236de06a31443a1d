"""Tasks that are trained and judged alike form a family: the applications ask here and know none of them."""

from collections.abc import Mapping
from typing import Protocol

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from spark_apps.ml import training
from spark_apps.ml.clustering import fitting
from spark_apps.ml.clustering import judging as grouping
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring import rating
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss
from spark_apps.ml.recommending import judging
from spark_apps.ml.recommending import training as recommending
from spark_apps.ml.splitting.splits import Bounds


class Judged(Protocol):
    """Baselines and models on the same holdout."""

    def measures(self) -> dict[str, Measures]:
        """Of everybody by name, the baselines first."""

    def against(self, name: str, other: str) -> Difference:
        """The paired test of one beside another: below 0 the first is better."""

    def by_subgroup(self, name: str, other: str) -> dict[str, GroupLoss]:
        """The same by ``column=value`` of the spec's subgroups that have rows enough."""


def fit_and_rate(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> Fitted:
    """Choose and fit on ``split.train`` of a snapshot only, then rate on all of ``split.holdout``."""
    if spec.task == "clustering":
        return fitting.fit_and_rate(frame, split, spec)
    if spec.task == "recommendation":
        return recommending.fit_and_rate(frame, split, spec)
    return training.fit_and_rate(frame, split, spec)


def judge(train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> Judged:
    """Ask the baselines, which know ``train`` alone, and the models by name about the holdout."""
    if spec.task == "clustering":
        return grouping.judge(train, holdout, models, spec)
    if spec.task == "recommendation":
        return judging.judge(train, holdout, models, spec)
    return rating.judge(train, holdout, models, spec)


def asked(
    train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec
) -> dict[str, DataFrame]:
    """What each model alone answers for the holdout, not worked out yet: for measuring what that costs."""
    if spec.task == "clustering":
        return grouping.asked(holdout, models, spec)
    if spec.task == "recommendation":
        return judging.asked(train, holdout, models, spec)
    return rating.asked(holdout, models, spec)
