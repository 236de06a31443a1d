"""From rows of a dataset to the columns a model sees; which rows can be trained on and which can be forecast."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import (
    GenreTastes,
    MinuteSeries,
    Ratings,
    RegularSeries,
    TableColumns,
    Visitors,
)
from spark_apps.ml import audit
from spark_apps.transforms import access_log_visitors, access_log_volume, genre_tastes, regular_series, table_columns

#: Column of an access log that says when a row happened.
_OCCURRED = "requested_at"
#: Minutes in one cycle of a calendar feature, and the snapshot's columns of it.
_CYCLES = {"hour": (1440, ("hour_sin", "hour_cos")), "weekday": (7 * 1440, ("weekday",))}


def build(rows: DataFrame, spec: PipelineSpec, beside: DataFrame | None = None) -> DataFrame:
    """Rows of ``spec.dataset`` -> every row the spec's features can be asked for, incomplete ones included.

    ``beside`` are the rows of ``spec.beside``, where there is one.
    """
    match spec.features:
        case MinuteSeries() as asked:
            return access_log_volume.features(rows, asked)
        case TableColumns() as asked:
            return table_columns.features(rows, key=spec.key, label=spec.label, columns=asked.columns)
        case RegularSeries() as asked:
            return regular_series.features(
                rows, group=asked.group, at=asked.at, value=spec.label, step_minutes=asked.step_min,
                lags=asked.lags_steps, rolling_means=asked.rolling_means_steps,
            )  # fmt: skip
        case Ratings() as asked:
            return rows.select(*asked.given, spec.label)
        case Visitors() as asked:
            return access_log_visitors.features(rows, asked)
        case GenreTastes() as asked:
            if beside is None:
                raise ValueError(f"{spec.snapshot_name} is made of {asked.items} too, and got no rows of it")
            return genre_tastes.features(rows, beside, asked)


def forecastable(frame: DataFrame, columns: list[str]) -> DataFrame:
    """Rows whose features are all there; the label may be missing."""
    return frame.where(_all_present(columns))


def trainable(frame: DataFrame, spec: PipelineSpec) -> DataFrame:
    """Rows whose label is there, and every feature that is not imputed."""
    imputed = spec.features.numeric if getattr(spec.features, "impute", None) else []
    return frame.where(_all_present([c for c in (*spec.features.columns, spec.label) if c and c not in imputed]))


def refuse_look_ahead(rows: DataFrame, built: DataFrame, spec: PipelineSpec) -> None:
    """Raise QualityGateError where ``built = build(rows, spec)`` knows the future; tried at its middle instant.

    Rows without an order have no future.
    """
    if spec.ordered_by is None:
        return
    instants = forecastable(built, spec.features.columns).select(F.unix_micros(spec.ordered_by).alias("at"))
    middle = instants.orderBy("at").offset(instants.count() // 2).first()
    if middle is None:
        return
    ahead = _ahead(rows, F.timestamp_micros(F.lit(middle["at"])), spec)
    if ahead:
        raise QualityGateError(
            f"Building {spec.snapshot_name}", found=f"columns that use the future: {', '.join(ahead)}",
            required="features made of earlier rows only",
            next_step="Correct the transform: its frames must end before the row.",
        )  # fmt: skip


def _ahead(rows: DataFrame, at: Column, spec: PipelineSpec) -> list[str]:
    """Feature columns that change up to ``at`` when only what happens from ``at`` on does."""

    def make(given: DataFrame) -> DataFrame:
        return build(given, spec)

    if isinstance(spec.features, RegularSeries):
        found = audit.looking_ahead(
            rows, make, at=spec.features.at, cut=at, key=spec.key, disturb=[spec.label], columns=spec.features.counts
        )
        return [column for finding in found for column in finding.columns]
    # A day on each side is longer than any frame; more rows would only be counted again.
    near = rows.where(F.col(_OCCURRED).between(at - F.expr("INTERVAL 1 DAY"), at + F.expr("INTERVAL 1 DAY")))
    return audit.columns_looking_ahead(
        near, make, occurred=_OCCURRED, key=str(spec.ordered_by), columns=spec.features.columns, at=at
    )


def model_columns(spec: PipelineSpec, n_train_rows: int) -> list[str]:
    """Feature columns that ``n_train_rows`` can teach: calendar columns of minutes wait for ``calendar_min_cycles``.

    The hour of a single morning, or the weekday of a single week, is nothing but a trend that continues wrongly.
    """
    if not isinstance(spec.features, MinuteSeries):
        return spec.features.columns
    waiting = {
        column
        for minutes, columns in (_CYCLES[part] for part in spec.features.calendar)
        for column in columns
        if n_train_rows < minutes * spec.features.calendar_min_cycles
    }
    return [column for column in spec.features.columns if column not in waiting]


def _all_present(columns: list[str]) -> Column:
    present = F.lit(True)  # noqa: FBT003 - a literal of Spark
    for column in columns:
        present = present & F.col(column).isNotNull()
    return present
