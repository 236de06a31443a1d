"""What a pipeline says about unequal classes, done to prepared training rows, and undone in the answers."""

from dataclasses import dataclass

from pyspark.ml.feature import ElementwiseProduct, StandardScaler
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml import imbalance
from spark_apps.ml.preparation import VECTOR

#: Column that an estimator weighs rows by.
WEIGHT = "weight"
_ROW, _SCALED = "row_key", "scaled_features"


@dataclass(frozen=True)
class PriorShift:
    """The share of class 1 in the rows that a model was fitted on, and the one there is."""

    trained_share: float
    true_share: float

    def apply(self, probability: Column) -> Column:
        """The probability of class 1 where its share is the true one (`imbalance.corrected`)."""
        return imbalance.corrected(probability, trained_share=self.trained_share, true_share=self.true_share)

    def as_sql(self, column: str) -> str:
        """The same as a Spark SQL expression on the column of that name."""
        one = f"`{column}` * {self.true_share / self.trained_share!r}D"
        other = f"(1D - `{column}`) * {(1 - self.true_share) / (1 - self.trained_share)!r}D"
        return f"({one}) / ({one} + {other})"


@dataclass(frozen=True)
class Remedied:
    """Training rows with VECTOR and the label, perhaps WEIGHT; ``shift`` is None where nothing was changed."""

    rows: DataFrame
    shift: PriorShift | None = None


def apply(prepared: DataFrame, spec: PipelineSpec) -> Remedied:
    """Weigh, thin or fill up training rows that hold VECTOR as ``spec.imbalance`` says; the holdout never comes here.

    Synthetic rows of SMOTE are made where every feature varies as much as any other, then brought back.
    """
    if spec.imbalance is None:
        return Remedied(prepared.select(VECTOR, spec.label))
    ratio, label = spec.imbalance.ratio, spec.label
    counts = imbalance.class_counts(prepared, label)
    keyed = prepared.select(VECTOR, label, F.concat_ws("/", *[F.col(c).cast("string") for c in spec.key]).alias(_ROW))
    if spec.imbalance.method == "weights":
        rows = imbalance.weights(keyed, label=label, into=WEIGHT, ratio=ratio).drop(_ROW)
    elif spec.imbalance.method == "undersample":
        rows = imbalance.undersample(keyed, label=label, key=_ROW, seed=spec.seed, ratio=1 / ratio).drop(_ROW)
    elif spec.imbalance.method == "oversample":
        rows = imbalance.oversample(keyed, label=label, key=_ROW, seed=spec.seed, ratio=ratio).drop(_ROW)
    else:
        rows = _filled_up(keyed, spec, ratio)
    return Remedied(_ordered(rows, spec), _shift(counts, ratio))


def _filled_up(keyed: DataFrame, spec: PipelineSpec, ratio: float) -> DataFrame:
    scaler = StandardScaler(inputCol=VECTOR, outputCol=_SCALED).fit(keyed)
    # A feature that never varies is 0 for the scaler, and would stay 0 on the way back.
    spread = [value or 1.0 for value in scaler.std.toArray()]
    grow, shrink = (Vectors.dense(each) for each in (spread, [1 / value for value in spread]))
    shrunk = ElementwiseProduct(scalingVec=shrink, inputCol=VECTOR, outputCol=_SCALED).transform(keyed).drop(VECTOR)
    filled = imbalance.smote(shrunk, label=spec.label, features=_SCALED, key=_ROW, seed=spec.seed, ratio=ratio)
    back = ElementwiseProduct(scalingVec=grow, inputCol=_SCALED, outputCol=VECTOR).transform(filled)
    return back.select(VECTOR, spec.label)


def _ordered(rows: DataFrame, spec: PipelineSpec) -> DataFrame:
    """In one order, whatever came before: synthetic rows have no key, so that of the numbers."""
    numbers = vector_to_array(F.col(VECTOR))
    return rows.repartition(spec.fit_partitions, numbers).sortWithinPartitions(numbers, spec.label)


def _shift(counts: dict[int, int], ratio: float) -> PriorShift:
    total, ones, zeros = sum(counts.values()), counts[1], counts[0]
    smaller, larger = min(ones, zeros), max(ones, zeros)
    odds = max(ratio, smaller / larger)
    share = odds / (1 + odds)
    return PriorShift(trained_share=share if ones == smaller else 1 - share, true_share=ones / total)
