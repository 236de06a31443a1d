"""Is a model better than a baseline on the same rows, or was it luck? A test on the differences of their losses."""

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from scipy.special import stdtrit

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import MinuteSeries, RegularSeries
from spark_apps.ml.measuring.regression_errors import LOSSES

#: Two-sided 95 % of a normal distribution.
_Z = 1.96
#: What a probability is clipped to: a wrong answer of exactly 0 or 1 would cost infinity.
_LEAST = 1e-12


class Difference(BaseModel):
    """Mean loss of a model minus that of a baseline, in units of the loss; below 0 the model is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    standard_error: float
    #: Groups of rows that count as independent of each other.
    blocks: int

    @property
    def low(self) -> float:
        """Lower end of the 95 % confidence interval."""
        return self.mean - _Z * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % confidence interval."""
        return self.mean + _Z * self.standard_error

    def low_of(self, tests: int) -> float:
        """Lower end of the interval of one of so many tests whose intervals are all right in 95 % (Bonferroni).

        By Student's distribution: of many groups some have few blocks.
        """
        if self.blocks < 2:
            return float("-inf")
        return self.mean - float(stdtrit(self.blocks - 1, 1 - 0.025 / tests)) * self.standard_error


def difference(rows: DataFrame, spec: PipelineSpec, ours: Column, theirs: Column) -> Difference:
    """Compare two predictions of the label on all ``rows``: errors by the gate's metric (squared ones for rmse), or log
    losses of probabilities.

    Rows that follow each other err alike, so rows of a series count in blocks of ten minutes, or of a group's day: the
    difference of losses as in Diebold and Mariano (Journal of Business & Economic Statistics 13, 1995).
    """
    losses = rows.select(
        *[column.alias(f"block_{n}") for n, column in enumerate(block(spec))],
        (row_loss(ours, spec) - row_loss(theirs, spec)).alias("d"),
    )
    return over_blocks(losses)


def row_loss(prediction: Column, spec: PipelineSpec) -> Column:
    """The loss of one row by the gate's metric, or its log loss for a probability."""
    label = F.col(spec.label).cast("double")
    if spec.task == "regression":
        return LOSSES[spec.gate.metric](label, prediction)
    p = F.greatest(F.least(prediction, F.lit(1 - _LEAST)), F.lit(_LEAST))
    return -F.when(label == 1, F.log(p)).otherwise(F.log1p(-p))


def over_blocks(differences: DataFrame) -> Difference:
    """The mean of column ``d``, a difference of losses; the other columns say which block a row belongs to.

    The standard error is that of a mean over clusters (Cochran, Sampling Techniques, 1977, section 9A), ``inf`` where
    there are not two blocks.
    """
    names = [name for name in differences.columns if name != "d"]
    sums = differences.groupBy(*names).agg(F.sum("d").alias("d"), F.count("*").alias("n"))
    found = sums.agg(*of_blocks()).collect()[0]
    if not found["n"]:
        raise ValueError("a comparison on no rows was asked for")
    return from_sums(found)


def of_blocks() -> list[Column]:
    """What ``from_sums`` needs of rows that are a block each: the sum ``d`` of its differences, and its ``n`` rows."""
    # Var of a ratio of sums needs these numbers and no second pass.
    return [
        F.sum("d").alias("d"), F.sum("n").alias("n"), F.count("*").alias("blocks"),
        F.sum(F.col("d") * F.col("d")).alias("dd"), F.sum(F.col("d") * F.col("n")).alias("dn"),
        F.sum(F.col("n") * F.col("n")).alias("nn"),
    ]  # fmt: skip


def from_sums(found: Row) -> Difference:
    """The mean difference and its standard error, from the sums that ``of_blocks`` asks for."""
    n, blocks, mean = float(found["n"]), int(found["blocks"]), found["d"] / found["n"]
    if blocks < 2:
        return Difference(mean=mean, standard_error=float("inf"), blocks=blocks)
    squares = found["dd"] - 2 * mean * found["dn"] + mean**2 * float(found["nn"])
    error = (max(squares, 0.0) * blocks / (blocks - 1)) ** 0.5 / n
    return Difference(mean=mean, standard_error=error, blocks=blocks)


def block(spec: PipelineSpec) -> list[Column]:
    """Columns that agree in rows that err alike."""
    if isinstance(spec.features, RegularSeries):
        return [F.col(spec.features.group), F.to_date(str(spec.ordered_by))]
    if isinstance(spec.features, MinuteSeries):
        return [F.floor(F.unix_seconds(str(spec.ordered_by)) / 600)]
    return [F.col(column) for column in spec.key]
