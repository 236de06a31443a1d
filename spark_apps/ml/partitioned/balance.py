"""How evenly rows lie on Spark partitions, by each way of spreading them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def spreads(rows: DataFrame, column: str, parts: int) -> dict[str, DataFrame]:
    """``rows`` spread in turn, by the hash of a column, and by ranges of it, over so many Spark partitions."""
    return {
        "round robin": rows.repartition(parts),
        f"hash of {column}": rows.repartition(parts, column),
        f"ranges of {column}": rows.repartitionByRange(parts, column),
    }


def of(spread: DataFrame, column: str) -> DataFrame:
    """(partition, rows, lowest, highest): what lies where."""
    return (
        spread.groupBy(F.spark_partition_id().alias("partition"))
        .agg(F.count(F.lit(1)).alias("rows"), F.min(column).alias("lowest"), F.max(column).alias("highest"))
        .orderBy("partition")
    )
