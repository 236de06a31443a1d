"""Does a feature know the future? Found out by changing the future and looking whether the past changes."""

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.audit import strange
from spark_apps.ml.audit.findings import Finding


def looking_ahead(
    rows: DataFrame,
    make: Callable[[DataFrame], DataFrame],
    *,
    at: str,
    cut: Column,
    key: Sequence[str],
    disturb: Sequence[str],
    columns: Sequence[str],
) -> list[Finding]:
    """Feature ``columns`` of rows up to ``cut`` that change when only ``disturb`` of rows from ``cut`` on does.

    ``make`` builds features from rows; its result has ``key`` (unique, not null) and ``at``. ``disturb`` are numeric
    columns whose own row a feature must not see, such as the target: a window that ends with its own row is found, not
    only one that goes beyond. (``columns_looking_ahead`` is for features that count rows.)
    """
    types = dict(rows.dtypes)
    changed = {c: F.when(F.col(at) >= cut, strange.number(c, types[c])).otherwise(F.col(c)) for c in disturb}
    before = make(rows).where(F.col(at) <= cut).select(*key, *columns)
    after = make(rows.withColumns(changed)).where(F.col(at) <= cut)
    after = after.select(*key, *[F.col(each).alias(f"_{each}") for each in columns])
    counts = [F.count_if(~F.col(each).eqNullSafe(F.col(f"_{each}"))).alias(each) for each in columns]
    found = before.join(after, on=list(key), how="full").agg(*counts).collect()[0]
    return [
        Finding(
            kind="look_ahead", columns=(each,), evidence={"rows": found[each]},
            sentence=f"{each} of {found[each]} rows depends on {', '.join(disturb)} of the same or a later instant",
        )
        for each in columns
        if found[each]
    ]  # fmt: skip


def columns_looking_ahead(
    rows: DataFrame, make: Callable[[DataFrame], DataFrame], *, occurred: str, key: str, columns: list[str], at: Column
) -> list[str]:
    """Names of the feature columns that change for some ``key`` <= ``at`` when only rows from ``at`` on change.

    Every row with ``occurred`` >= ``at`` is counted three times; a feature of ``at`` or earlier must not notice.
    ``make`` builds the features from rows; ``key`` identifies a row of its result and is its instant. ``at`` is a
    timestamp.
    """
    later = rows.where(F.col(occurred) >= at)
    disturbed = make(rows.unionAll(later).unionAll(later)).where(F.col(key) <= at)
    undisturbed = make(rows).where(F.col(key) <= at)
    # A full join, so that a row that appears or disappears is a difference too.
    pairs = undisturbed.alias("a").join(disturbed.alias("b"), on=F.col(f"a.{key}") == F.col(f"b.{key}"), how="full")
    differs = [F.max(~F.col(f"a.{c}").eqNullSafe(F.col(f"b.{c}"))).alias(c) for c in columns]
    found = pairs.agg(*differs).collect()[0]
    return [column for column in columns if found[column]]
