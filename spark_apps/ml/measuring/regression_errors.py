"""Errors of predictors of a number, every predictor in one pass over the same rows."""

from collections.abc import Callable, Mapping
from math import isfinite

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

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
        found = self.model_dump(exclude={"rows"})
        return {name: value for name, value in found.items() if value is not None and isfinite(value)}


def measure(frame: DataFrame, *, label: str, predictors: Mapping[str, Column]) -> dict[str, Errors]:
    """Errors of each predictor on all rows of ``frame``, in the given order; label and predictions hold no nulls.

    ``bias`` is mean(prediction - label), ``poisson_deviance`` the mean of 2 (y ln(y/m) - (y - m)) with m at least
    LEAST_MEAN (McCullagh and Nelder, Generalized Linear Models, 1989, table 2.1).
    """
    y = F.col(label).cast("double")
    sums: list[Column] = [F.count("*").alias("rows"), F.var_pop(y).alias("variance")]
    for number, prediction in enumerate(predictors.values()):
        sums += [
            *(F.avg(loss(y, prediction)).alias(f"{name}_{number}") for name, loss in LOSSES.items()),
            F.avg(prediction - y).alias(f"bias_{number}"),
        ]
    found = frame.agg(*sums).collect()[0]
    if found["rows"] == 0:
        raise ValueError("errors of no rows were asked for")
    return {
        name: Errors(
            rows=found["rows"], mae=found[f"mae_{n}"], rmse=found[f"rmse_{n}"] ** 0.5, bias=found[f"bias_{n}"],
            poisson_deviance=found[f"poisson_deviance_{n}"],
            r2=1 - found[f"rmse_{n}"] / found["variance"] if found["variance"] else None,
        )
        for n, name in enumerate(predictors)
    }  # fmt: skip


def _poisson_deviance(y: Column, prediction: Column) -> Column:
    mean = F.greatest(prediction, F.lit(LEAST_MEAN))
    return 2 * (F.when(y > 0, y * F.log(y / mean)).otherwise(0.0) - (y - mean))


#: What a row adds to the mean that each error is, or is the root of: of the label and the prediction.
LOSSES: dict[str, Callable[[Column, Column], Column]] = {
    "mae": lambda y, prediction: F.abs(prediction - y),
    "rmse": lambda y, prediction: (prediction - y) * (prediction - y),
    "poisson_deviance": _poisson_deviance,
}
