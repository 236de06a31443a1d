"""Every count that a verdict needs of a table, in one aggregation, and a hash of what was counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.compile import breaks
from expectations.rules import Rule


@dataclass(frozen=True)
class Tally:
    """Rows, rows that break each row rule by its id, and a digest that does not depend on the order of the rows."""

    rows: int
    unexpected: dict[str, int]
    digest: str


def tally(frame: DataFrame, rules: Sequence[Rule]) -> Tally:
    """Count ``frame`` (one Spark aggregation, whatever the number of rules).

    The digest sums two 64-bit hashes of each row: it tells two states of a table apart, but is no proof against
    somebody who forges rows; snapshots, which models are trained on, are addressed by SHA-256.
    """
    row = frame.agg(
        F.count(F.lit(1)).alias("rows"),
        _sum_of_hashes(frame, "first").alias("first"),
        _sum_of_hashes(frame, "second").alias("second"),
        *[F.count_if(breaks(rule)).alias(f"rule:{rule.id}") for rule in rules],
    ).collect()[0]
    schema = ",".join(f"{name} {kind}" for name, kind in frame.dtypes)
    return Tally(
        rows=int(row["rows"]),
        unexpected={rule.id: int(row[f"rule:{rule.id}"]) for rule in rules},
        digest=f"{schema};{row['rows']};{row['first']};{row['second']}",
    )


def reasons(quarantined: DataFrame) -> dict[str, int]:
    """Rows of a quarantine table by ``reason``."""
    counts = quarantined.groupBy("reason").agg(F.count("*").alias("n")).collect()
    return {row["reason"]: int(row["n"]) for row in counts}


def _sum_of_hashes(frame: DataFrame, seed: str) -> Column:
    columns = [F.col(f"`{name}`") for name in frame.columns]
    # xxhash64 skips nulls, so (null, 1) and (1, null) would be the same row without saying where the nulls are.
    nulls = F.concat(F.lit(seed), *[F.when(column.isNull(), "0").otherwise("1") for column in columns])
    return F.coalesce(F.sum(F.xxhash64(nulls, *columns).cast("decimal(20,0)")), F.lit(0))
