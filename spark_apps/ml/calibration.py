"""Probabilities that mean what they say: Platt and isotonic calibrators, fitted on out-of-fold predictions.

A model is surer of its own training rows than of any others, so a calibrator is fitted on scores of rows that the
scoring model has not seen. Those must be rows like the ones to be served: calibrating on another source's class share
leaves its difference as bias.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pyspark.ml import Transformer
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.regression import IsotonicRegression
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Method = Literal["platt", "isotonic"]

#: Scores nearer to 0 or 1 count as this far away in a logit, where 0 itself would be infinitely far out.
LEAST_SCORE = 1e-6
#: Isotonic predictions stay this far from 0 and 1: a block of one class is no proof of certainty.
LEAST_ISOTONIC = 1e-3


class Platt(BaseModel):
    """1 / (1 + exp(-(slope * logit(score) + intercept))); with a slope above 0 it keeps every order.

    Platt (Advances in Large Margin Classifiers, 1999), on the logit of a probability and without his smoothed targets:
    from some hundred rows of each class on they change nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["platt"] = "platt"
    slope: float = Field(gt=0)
    intercept: float

    def apply(self, score: Column) -> Column:
        """Calibrated probability of a score in [0, 1]; null stays null."""
        return 1 / (1 + F.exp(-(self.slope * _logit(score) + self.intercept)))

    def as_sql(self, column: str) -> str:
        """The same as a Spark SQL expression on the column of that name, for an SQLTransformer."""
        x = _quoted(column)
        clipped = f"CASE WHEN {x} < {_sql(LEAST_SCORE)} THEN {_sql(LEAST_SCORE)} "
        clipped += f"WHEN {x} > {_sql(1 - LEAST_SCORE)} THEN {_sql(1 - LEAST_SCORE)} ELSE {x} END"
        logit = f"ln(({clipped}) / (1D - ({clipped})))"
        return f"1D / (1D + exp(-({_sql(self.slope)} * {logit} + {_sql(self.intercept)})))"


class Isotonic(BaseModel):
    """The straight lines between points (boundary, prediction), flat outside of them; both never fall.

    Zadrozny and Elkan (KDD 2002). It makes ties, so it can cost ranking.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["isotonic"] = "isotonic"
    boundaries: tuple[float, ...] = Field(min_length=1)
    predictions: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_a_function_that_never_falls(self) -> Self:
        boundaries, predictions = self.boundaries, self.predictions
        if len(boundaries) != len(predictions):
            raise ValueError(f"{len(boundaries)} boundaries and {len(predictions)} predictions")
        if any(a >= b for a, b in zip(boundaries, boundaries[1:], strict=False)):
            raise ValueError("boundaries must rise")
        if any(a > b for a, b in zip(predictions, predictions[1:], strict=False)):
            raise ValueError("predictions must not fall")
        return self

    def apply(self, score: Column) -> Column:
        """Calibrated probability of a score; null stays null."""
        climbed = F.lit(self.predictions[0])
        if self._ramps():
            climbed = F.aggregate(F.expr(self._ramps()), climbed, lambda total, ramp: total + _climbed(score, ramp))
        return F.when(score.isNotNull(), climbed)

    def as_sql(self, column: str) -> str:
        """The same as a Spark SQL expression on the column of that name, for an SQLTransformer."""
        x, climbed = _quoted(column), _sql(self.predictions[0])
        if self._ramps():
            part = f"least(greatest(({x} - ramp.foot) / ramp.width, 0D), 1D)"
            climbed = f"aggregate({self._ramps()}, {climbed}, (total, ramp) -> total + ramp.rise * {part})"
        return f"CASE WHEN {x} IS NOT NULL THEN {climbed} END"

    def _ramps(self) -> str:
        """Where the function rises: foot, width and rise of each ramp as an SQL array; empty where it never does.

        One array that is walked, and not one branch for each: hundreds of branches are a method that the JVM refuses
        to compile.
        """
        points = list(zip(self.boundaries, self.predictions, strict=True))
        ramps = [
            f"named_struct('foot', {_sql(x)}, 'width', {_sql(next_x - x)}, 'rise', {_sql(next_y - y)})"
            for (x, y), (next_x, next_y) in zip(points, points[1:], strict=False)
            if next_y > y
        ]
        return f"array({', '.join(ramps)})" if ramps else ""


#: What ``fit`` returns; as JSON it goes through ``to_json`` and ``from_json``.
Calibrator = Annotated[Platt | Isotonic, Field(discriminator="method")]

_CALIBRATOR: TypeAdapter[Platt | Isotonic] = TypeAdapter(Calibrator)


def to_json(calibrator: Platt | Isotonic) -> str:
    return calibrator.model_dump_json()


def from_json(text: str) -> Platt | Isotonic:
    """What ``to_json`` wrote, equal to the last bit; anything else is a pydantic ValidationError."""
    return _CALIBRATOR.validate_json(text)


def out_of_fold(
    frame: DataFrame,
    fit: Callable[[DataFrame], Transformer],
    *,
    number: Column,
    folds: int = 5,
    probability: str = "probability",
    into: str = "score",
) -> DataFrame:
    """The frame with ``into``: each row's probability of class 1, by a model fitted on the other folds.

    ``number`` is an integer that belongs to the row (its number, or a hash of its key; a null counts as 0); its rest by
    ``folds`` is the fold. Fits ``folds`` models here and now; the scoring is lazy. ``probability`` is the Vector column
    that the fitted Transformer adds.
    """
    if folds < 2:
        raise ValueError(f"{folds} folds; with fewer than 2 no rows are left to fit on")
    numbered = frame.withColumn("_fold", F.coalesce(F.pmod(number, F.lit(folds)), F.lit(0)))
    parts = []
    for fold in range(folds):
        model = fit(numbered.where(F.col("_fold") != fold).drop("_fold"))
        scored = model.transform(numbered.where(F.col("_fold") == fold).drop("_fold"))
        parts.append(scored.select(*frame.columns, vector_to_array(F.col(probability))[1].alias(into)))
    united = parts[0]
    for part in parts[1:]:
        united = united.unionAll(part)
    return united


def fit(scores: DataFrame, *, label: str, score: str, method: Method) -> Platt | Isotonic:
    """A calibrator from rows with ``score`` in [0, 1] and ``label`` 0 or 1, which the scoring model has not seen.

    ValueError where one class is missing, or where scores rank so badly that Platt's slope is not above 0.
    """
    rows = scores.select(F.col(label).cast("double").alias("label"), F.col(score).cast("double").alias("score"))
    found = rows.agg(F.count("*").alias("n"), F.sum("label").alias("positives")).collect()[0]
    if not found["n"] or not 0 < found["positives"] < found["n"]:
        raise ValueError(f"{found['positives'] or 0:.0f} positives of {found['n']} rows; both classes are required")
    return _platt(rows) if method == "platt" else _isotonic(rows)


def _platt(rows: DataFrame) -> Platt:
    logits = rows.select("label", array_to_vector(F.array(_logit(F.col("score")))).alias("features"))
    model = LogisticRegression(regParam=0.0, maxIter=100, tol=1e-10).fit(logits)
    slope = float(model.coefficients[0])
    if slope <= 0:
        raise ValueError(f"the scores rank no better than chance (slope {slope:.3g}); there is nothing to calibrate")
    return Platt(slope=slope, intercept=float(model.intercept))


def _isotonic(rows: DataFrame) -> Isotonic:
    model = IsotonicRegression(featuresCol="score", labelCol="label").fit(rows)
    predictions = model.predictions.toArray().clip(LEAST_ISOTONIC, 1 - LEAST_ISOTONIC)
    return Isotonic(boundaries=model.boundaries.toArray().tolist(), predictions=predictions.tolist())


def _logit(score: Column) -> Column:
    # Not greatest and least, which pass over a null.
    low, high = F.lit(LEAST_SCORE), F.lit(1 - LEAST_SCORE)
    clipped = F.when(score < low, low).when(score > high, high).otherwise(score)
    return F.log(clipped / (1 - clipped))


def _climbed(score: Column, ramp: Column) -> Column:
    part = (score - ramp["foot"]) / ramp["width"]
    return ramp["rise"] * F.least(F.greatest(part, F.lit(0.0)), F.lit(1.0))


def _sql(value: float) -> str:
    # The D makes it a double; without it, digits with a point are a decimal.
    return f"({value!r}D)"


def _quoted(column: str) -> str:
    return "`" + column.replace("`", "``") + "`"
