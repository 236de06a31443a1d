"""Values of several groups at a fixed step of time, and features that never look ahead and never bridge a gap."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

_DAY_MIN = 24 * 60


def features(
    rows: DataFrame, *, group: str, at: str, value: str, step_minutes: int, lags: Sequence[int],
    rolling_means: Sequence[int],
) -> DataFrame:  # fmt: skip
    """Rows in any order -> ``<group> string, <at>, <value> double, lag_<n>..., mean_<n>..., slot int, weekday int``.

    Lags and lengths are steps of time, not rows. ``lag_<n>`` (double) is the value n steps before, null where that
    instant has no row or no value. ``mean_<n>`` is the mean of the n steps before the row, null unless all n values
    are there. ``slot`` counts the day's steps from 0, ``weekday`` is 1 on Monday, both of ``at`` as it is written.
    No row is made for a missing instant; only the one that follows a group's last row is there, without a value, to
    be forecast. Rows of one instant count once where they agree.

    Errors: ValueError for a step that does not divide the day and for a feature that is not of the past; Spark stops
    at an instant between the steps and at rows of one instant that contradict each other. ``off_the_grid`` and
    ``repeated_instants`` find both beforehand.
    """
    _refuse_unusable(step_minutes, lags, rolling_means)
    known = rows.groupBy(F.col(group).cast("string").alias(group), at).agg(_the_value(value).alias(value))
    series = _with_the_next_instant(known, group, at, value, step_minutes).withColumn("_step", _step(at, step_minutes))
    steps = Window.partitionBy(group).orderBy("_step")

    def lag(n: int) -> Column:
        return F.max(value).over(steps.rangeBetween(-n, -n))

    def mean(n: int) -> Column:
        frame = steps.rangeBetween(-n, -1)
        return F.when(F.count(value).over(frame) == n, F.avg(value).over(frame))

    minute_of_day = F.hour(at) * 60 + F.minute(at)
    return series.select(
        group, at, value,
        *[lag(n).alias(f"lag_{n}") for n in lags],
        *[mean(n).alias(f"mean_{n}") for n in rolling_means],
        F.floor(minute_of_day / step_minutes).cast("int").alias("slot"),
        (F.weekday(at) + 1).alias("weekday"),
    )  # fmt: skip


def repeated_instants(rows: DataFrame, *, group: str, at: str, value: str) -> DataFrame:
    """Instants with more than one row: ``<group>, <at>, rows bigint, is_contradictory boolean``.

    Rows contradict each other where their values differ; a missing value differs from one that is there.
    """
    found = rows.groupBy(group, at).agg(F.count("*").alias("rows"), _contradicts(value).alias("is_contradictory"))
    return found.where(F.col("rows") > 1)


def off_the_grid(rows: DataFrame, *, at: str, step_minutes: int) -> DataFrame:
    """The rows whose instant is missing, or is not a whole number of steps after midnight."""
    return rows.where(F.col(at).isNull() | ~_is_on_the_grid(at, step_minutes))


def _refuse_unusable(step_minutes: int, lags: Sequence[int], rolling_means: Sequence[int]) -> None:
    """ValueError for a step that does not divide the day, and for lags and lengths that are not of the past."""
    if step_minutes < 1 or _DAY_MIN % step_minutes:
        raise ValueError(f"a step must divide the day, which {step_minutes} minutes do not")
    if any(n < 1 for n in (*lags, *rolling_means)):
        raise ValueError(f"a feature may use earlier steps only: lags {list(lags)}, means {list(rolling_means)}")


def _the_value(value: str) -> Column:
    """The one value of an instant's rows, double; Spark stops where they contradict each other."""
    one = F.max(value).cast("double")
    refused = F.raise_error(F.lit("rows of one instant contradict each other; repeated_instants() lists them"))
    return F.when(_contradicts(value), refused).otherwise(one)


def _contradicts(value: str) -> Column:
    """Whether an instant's rows differ; where all values are missing they agree."""
    return ~F.min(value).eqNullSafe(F.max(value)) | F.count(value).between(1, F.count("*") - 1)


def _with_the_next_instant(known: DataFrame, group: str, at: str, value: str, step_minutes: int) -> DataFrame:
    """One more row in each group, a step after its last and without a value; made from that row, not by a union,
    which would compute ``known`` twice."""
    whole = Window.partitionBy(group).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    following = F.col(at) + F.expr(f"INTERVAL {step_minutes} MINUTES")
    instants = F.when(F.col(at) == F.col("_last_at"), F.array(at, following)).otherwise(F.array(at))
    spread = known.withColumn("_last_at", F.max(at).over(whole)).withColumn("_at", F.explode(instants))
    return spread.select(group, F.col("_at").alias(at), F.when(F.col("_at") == F.col(at), F.col(value)).alias(value))


def _step(at: str, step_minutes: int) -> Column:
    """Number of the instant's step since 1970; Spark stops where it lies between two."""
    refused = F.raise_error(F.lit("an instant between the steps; off_the_grid() lists them"))
    number = (F.unix_seconds(at) / (step_minutes * 60)).cast("bigint")
    return F.when(_is_on_the_grid(at, step_minutes), number).otherwise(refused)


def _is_on_the_grid(at: str, step_minutes: int) -> Column:
    return F.unix_micros(at) % (step_minutes * 60_000_000) == 0
