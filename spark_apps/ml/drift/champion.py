"""What a champion answers on rows, how much it is wrong about them, and how good it believes to be."""

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.drift import PREDICTION, DriftPolicy
from spark_apps.ml import features
from spark_apps.ml.answers import answer
from spark_apps.ml.drift import losses
from spark_apps.ml.drift.losses import Expected, LossGrowth
from spark_apps.ml.measuring import paired

#: Rows without an order are put together by so many, for their mean loss to be nearly normal.
_CHUNK_ROWS = 100
#: Probabilities are looked at in so many bins of equal width.
_SCORE_BINS = 1000


def answered(rows: DataFrame, model: PipelineModel, spec: PipelineSpec, columns: list[str]) -> DataFrame:
    """Rows that have all ``columns``, with what the model says in column ``prediction``."""
    known = features.forecastable(rows, columns)
    made = model.transform(known)
    # A cluster is a name, not a number.
    said = F.col(PREDICTION).cast("string") if spec.task == "clustering" else answer(made, spec).cast("double")
    return made.select(*rows.columns, said.alias(PREDICTION))


def loss_growth(holdout: DataFrame, window: DataFrame, spec: PipelineSpec, policy: DriftPolicy) -> LossGrowth | None:
    """The champion's loss on new rows with labels beside that on its holdout; None where losses are not per row."""
    if spec.task not in ("regression", "classification"):
        return None
    before, now = (_loss_blocks(rows, spec, policy) for rows in (holdout, window))
    return losses.grown(before, now, min_growth=policy.min_loss_growth, alpha=policy.false_alarm_rate)


def expected_quality(window: DataFrame, spec: PipelineSpec) -> Expected | None:
    """What the probabilities themselves promise; None for models that answer otherwise, or uncalibrated ones."""
    if spec.task != "classification" or spec.calibration is None:
        return None
    bin_of = F.least(F.floor(F.col(PREDICTION) * _SCORE_BINS), F.lit(_SCORE_BINS - 1))
    found = window.groupBy(bin_of.alias("bin")).agg(F.avg(PREDICTION).alias("p"), F.count("*").alias("n"))
    rows = sorted(found.collect(), key=lambda row: float(row["bin"]))
    return losses.expected([row["p"] for row in rows], [row["n"] for row in rows])


def _loss_blocks(rows: DataFrame, spec: PipelineSpec, policy: DriftPolicy) -> list[tuple[float, int]]:
    """Sum of losses and rows of each block, in the order of time."""
    labelled = rows.where(F.col(spec.label).isNotNull())
    loss = paired.row_loss(F.col(PREDICTION), spec)
    lost = labelled.select(_block(labelled, spec, policy).alias("block"), loss.alias("d"))
    found = lost.groupBy("block").agg(F.sum("d").alias("sum"), F.count("*").alias("rows")).collect()
    return [(float(row["sum"]), int(row["rows"])) for row in sorted(found, key=lambda row: int(row["block"]))]


def _block(rows: DataFrame, spec: PipelineSpec, policy: DriftPolicy) -> Column:
    if spec.ordered_by and policy.block_hours:
        return F.floor(F.unix_seconds(F.col(spec.ordered_by)) / round(policy.block_hours * 3600))
    chunks = max(rows.count() // _CHUNK_ROWS, 1)
    return F.pmod(F.xxhash64(*spec.key), F.lit(chunks))
