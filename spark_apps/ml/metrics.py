"""Errors of predictors on all rows they are given, every predictor in one pass over the same rows."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import MEAN, PipelineSpec

#: A predicted mean below this counts as this much in the deviance, where a prediction of 0 would cost infinity.
LEAST_MEAN = 0.5


class Errors(BaseModel):
    """Errors of one predictor: label units, except ``r2`` (share; None where the label is constant)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    mae: float
    rmse: float
    poisson_deviance: float
    r2: float | None
    bias: float

    def numbers(self) -> dict[str, float]:
        """The errors by name, without rows and without what could not be computed."""
        return {name: value for name, value in self.model_dump(exclude={"rows"}).items() if value is not None}


def regression(frame: DataFrame, *, label: str, predictors: Mapping[str, Column]) -> dict[str, Errors]:
    """Errors of each predictor on all rows of ``frame``, in the given order; label and predictions hold no nulls.

    ``bias`` is mean(prediction - label), ``poisson_deviance`` the mean of 2 (y ln(y/m) - (y - m)) with m at least
    LEAST_MEAN (McCullagh and Nelder, Generalized Linear Models, 1989, table 2.1).
    """
    y = F.col(label).cast("double")
    sums: list[Column] = [F.count("*").alias("rows"), F.var_pop(y).alias("variance")]
    for number, prediction in enumerate(predictors.values()):
        sums += [
            F.avg(F.abs(prediction - y)).alias(f"mae_{number}"),
            F.avg((prediction - y) * (prediction - y)).alias(f"mse_{number}"),
            F.avg(prediction - y).alias(f"bias_{number}"),
            F.avg(_poisson_deviance(y, prediction)).alias(f"deviance_{number}"),
        ]
    found = frame.agg(*sums).collect()[0]
    if found["rows"] == 0:
        raise ValueError("errors of no rows were asked for")
    return {
        name: Errors(
            rows=found["rows"], mae=found[f"mae_{n}"], rmse=found[f"mse_{n}"] ** 0.5, bias=found[f"bias_{n}"],
            poisson_deviance=found[f"deviance_{n}"],
            r2=1 - found[f"mse_{n}"] / found["variance"] if found["variance"] else None,
        )
        for n, name in enumerate(predictors)
    }  # fmt: skip


def baselines(spec: PipelineSpec, train_mean: float) -> dict[str, Column]:
    """The spec's baselines as columns, the mean of the training label first."""
    return {MEAN: F.lit(train_mean), **{name: F.col(column) for name, column in spec.baselines.items()}}


def skill(error: float, baseline_error: float) -> float:
    """``1 - error / baseline error``: 0 is as good as the baseline, 1 perfect; 0 beside a perfect baseline."""
    return 1 - error / baseline_error if baseline_error > 0 else 0.0


def table(errors: Mapping[str, Errors], baseline: str) -> list[dict[str, float | str | None]]:
    """Rows for people: predictor, errors, and MAE skill against ``baseline``; the baselines come first."""
    reference = errors[baseline].mae
    return [
        {"predictor": name, **one.model_dump(), f"skill_vs_{baseline}": skill(one.mae, reference)}
        for name, one in errors.items()
    ]


def _poisson_deviance(y: Column, prediction: Column) -> Column:
    mean = F.greatest(prediction, F.lit(LEAST_MEAN))
    return 2 * (F.when(y > 0, y * F.log(y / mean)).otherwise(0.0) - (y - mean))
