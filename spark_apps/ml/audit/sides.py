"""Rows of the training part that tell rows of the holdout."""

from collections.abc import Sequence
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.audit.findings import Finding
from spark_apps.ml.splitting import twins


def shared_rows(
    train: DataFrame, holdout: DataFrame, *, columns: Sequence[str], label: str | None = None
) -> list[Finding]:
    """Holdout rows whose ``columns`` all occur, equal to the last bit, in one training row; nulls are equal."""
    known = train.groupBy(*[F.col(each).alias(f"_t{place}") for place, each in enumerate(columns)]).agg(
        (F.collect_set(label) if label else F.count("*")).alias("_labels")
    )
    equal = [F.col(each).eqNullSafe(F.col(f"_t{place}")) for place, each in enumerate(columns)]
    agrees = F.array_contains("_labels", F.col(label)) if label else F.lit(None)
    return _duplicates(
        "shared_rows", holdout.join(known, on=equal, how="inner").select(agrees.alias("agrees")), columns
    )


def near_duplicates(
    train: DataFrame,
    holdout: DataFrame,
    *,
    columns: Sequence[str],
    tolerance: float,
    label: str | None = None,
    bucket_by: Sequence[str] = (),
) -> list[Finding]:
    """Holdout rows of which every column is less than ``tolerance`` away from that of one training row (``twins``).

    For rows that were rounded, or copied with noise.
    """
    found = twins.pairs(
        train, holdout, columns=columns, distance=tolerance, bucket_by=bucket_by, keep=[label] if label else []
    )
    agrees = F.max(F.col(label).eqNullSafe(F.col(f"known_{label}"))) if label else F.lit(None)
    return _duplicates("near_duplicates", found.groupBy(twins.ROW).agg(agrees.alias("agrees")), columns)


def time_travel(train: DataFrame, holdout: DataFrame, *, at: str, group: Sequence[str] = ()) -> list[Finding]:
    """Training rows at or after the first instant of the holdout; of the holdout of their group, if groups are given.

    A model that was fitted on them is asked for a past whose future it knows.
    """
    groups = [F.col(each).alias(f"_{each}") for each in group]
    first = holdout.groupBy(*groups).agg(F.min(at).alias("_first"))
    late = [F.col(each).eqNullSafe(F.col(f"_{each}")) for each in group] + [F.col(at) >= F.col("_first")]
    rows = train.join(first, on=late, how="inner").count()
    if not rows:
        return []
    each_group = f" of their {', '.join(group)}" if group else ""
    return [
        Finding(
            kind="time_travel", columns=(at, *group), evidence={"rows": rows},
            sentence=f"{rows} training rows lie at or after the first holdout instant{each_group}, by {at}",
        )
    ]  # fmt: skip


def _duplicates(
    kind: Literal["shared_rows", "near_duplicates"], pairs: DataFrame, columns: Sequence[str]
) -> list[Finding]:
    """``pairs`` has a row for each holdout row that was found, with ``agrees`` (null where no label was given)."""
    found = pairs.agg(F.count("*").alias("rows"), F.sum(F.col("agrees").cast("int")).alias("agrees")).collect()[0]
    if not found["rows"]:
        return []
    evidence = {"rows": found["rows"]}
    if found["agrees"] is not None:
        evidence["label_agrees"] = found["agrees"]
    how = "equal" if kind == "shared_rows" else "nearly equal"
    sentence = f"{found['rows']} holdout rows are {how} to training rows in all of {len(columns)} columns"
    return [Finding(kind=kind, columns=tuple(columns), evidence=evidence, sentence=sentence)]
