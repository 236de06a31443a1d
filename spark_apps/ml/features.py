"""From rows of a dataset to the columns a model sees; which rows can be trained on and which can be forecast."""

from collections.abc import Callable

from pyspark.ml import Transformer
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import MinuteSeries, PipelineSpec
from spark_apps.ml import leakage
from spark_apps.transforms import access_log_volume

#: Transform of each kind of features: rows of the spec's dataset -> key, label and feature columns.
_TRANSFORMS: dict[str, Callable[[DataFrame, MinuteSeries], DataFrame]] = {"minute_series": access_log_volume.features}
#: Column of the dataset that says when a row happened.
_OCCURRED = {"minute_series": "requested_at"}
#: Minutes in one cycle of a calendar feature, and the snapshot's columns of it.
_CYCLES = {"hour": (1440, ("hour_sin", "hour_cos")), "weekday": (7 * 1440, ("weekday",))}


def build(rows: DataFrame, spec: PipelineSpec) -> DataFrame:
    """Rows of ``spec.dataset`` -> every row the spec's features can be asked for, incomplete ones included."""
    return _TRANSFORMS[spec.features.kind](rows, spec.features)


def forecastable(frame: DataFrame, columns: list[str]) -> DataFrame:
    """Rows whose features are all there; the label may be missing."""
    return frame.where(_all_present(columns))


def trainable(frame: DataFrame, spec: PipelineSpec) -> DataFrame:
    """Rows whose features and label are all there."""
    return frame.where(_all_present([*spec.features.columns, spec.label]))


def refuse_look_ahead(rows: DataFrame, built: DataFrame, spec: PipelineSpec) -> None:
    """Raise QualityGateError where ``built = build(rows, spec)`` knows the future; tried at its middle row."""
    instant = F.unix_micros(spec.ordered_by).alias("at")
    instants = forecastable(built, spec.features.columns).select(instant)
    middle = instants.orderBy("at").offset(instants.count() // 2).first()
    if middle is None:
        return
    occurred, at = _OCCURRED[spec.features.kind], F.timestamp_micros(F.lit(middle["at"]))
    # A day on each side is longer than any frame; more rows would only be counted again.
    near = rows.where(F.col(occurred).between(at - F.expr("INTERVAL 1 DAY"), at + F.expr("INTERVAL 1 DAY")))
    ahead = leakage.columns_looking_ahead(
        near,
        lambda given: build(given, spec),
        occurred=occurred,
        key=spec.ordered_by,
        columns=spec.features.columns,
        at=at,
    )
    if ahead:
        raise QualityGateError(
            f"Building {spec.snapshot_name}", found=f"columns that use the future: {', '.join(ahead)}",
            required="features made of earlier rows only",
            next_step="Correct the transform: its frames must end before the row.",
        )  # fmt: skip


def model_columns(spec: PipelineSpec, n_train_rows: int) -> list[str]:
    """Feature columns that ``n_train_rows`` minutes can teach: calendar columns wait for ``calendar_min_cycles``.

    The hour of a single morning, or the weekday of a single week, is nothing but a trend that continues wrongly.
    """
    waiting = {
        column
        for minutes, columns in (_CYCLES[part] for part in spec.features.calendar)
        for column in columns
        if n_train_rows < minutes * spec.features.calendar_min_cycles
    }
    return [column for column in spec.features.columns if column not in waiting]


def as_model_inputs(columns: list[str], spec: PipelineSpec) -> tuple[Transformer, list[str]]:
    """A transformer that travels with the model, and the names of the numeric columns that it adds.

    Counts become log1p, because a log link multiplies (raw lags doubled the error on traffic volumes);
    the weekday becomes seven columns of 0 and 1.
    """
    counts = [*spec.features.lags, *spec.features.rolling_means]
    added: dict[str, str] = {}
    for column in columns:
        if column in counts:
            added[f"log_{column}"] = f"log1p({column})"
        elif column == "weekday":
            added.update({f"is_weekday_{day}": f"double(weekday = {day})" for day in range(1, 8)})
        else:
            added[f"in_{column}"] = f"double({column})"
    select = ", ".join(f"{expression} AS {name}" for name, expression in added.items())
    return SQLTransformer(statement=f"SELECT *, {select} FROM __THIS__"), list(added)


def _all_present(columns: list[str]) -> Column:
    present = F.lit(True)  # noqa: FBT003 - a literal of Spark
    for column in columns:
        present = present & F.col(column).isNotNull()
    return present
