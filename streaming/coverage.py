"""Which bytes of its sources a micro-batch holds, and which of its lines were there before.

A line is known by where it stands in its source, never by what it says: two equal lines are two requests.
"""

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from spark_apps.io.stream_records import Covered
from streaming.intervals import merged

#: More overlapping intervals than this are joined as a table instead of being spelled out in an expression.
_SPELLED_OUT = 100


def coverage(lines: DataFrame) -> tuple[int, Covered, bool]:
    """(records, covered byte intervals per source, whether a line of a source occurs twice in ``lines``)."""
    first, last = F.min("byte_offset"), F.max(F.col("byte_offset") + F.col("byte_length"))
    per_source = (
        lines.groupBy("source")
        .agg(
            F.count("*").alias("records"), first.alias("start"), last.alias("end"), _is_unbroken().alias("unbroken")
        )
        .collect()
    )  # fmt: skip
    total = sum(row.records for row in per_source)
    sources = [row for row in per_source if row.source is not None]
    covered = {row.source: [(row.start, row.end)] for row in sources if row.unbroken}
    broken = [row.source for row in sources if not row.unbroken]
    if not broken:
        return total, covered, False
    # Gaps or lines that came twice: rare enough to look at every line of these sources.
    per_line = (
        lines.where(F.col("source").isin(*broken))
        .groupBy("source", "byte_offset")
        .agg(F.count("*").alias("n"), F.max("byte_length").alias("size"))
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    try:
        repeats = per_line.where("n > 1").limit(1).count() > 0
        return total, covered | _islands(per_line), repeats
    finally:
        per_line.unpersist()


def mark_duplicates(lines: DataFrame, known: Covered, *, repeats: bool) -> DataFrame:
    """Add ``is_duplicate``: the first byte is in ``known``, or the line came earlier in this micro-batch."""
    duplicate = F.lit(False)  # noqa: FBT003 - a Spark literal
    if sum(len(parts) for parts in known.values()) > _SPELLED_OUT:
        return _mark_by_join(lines, known, repeats=repeats)
    for source, parts in known.items():
        for start, end in parts:
            inside = (F.col("byte_offset") >= start) & (F.col("byte_offset") < end)
            duplicate = duplicate | ((F.col("source") == source) & inside)
    return _with_duplicates(lines, duplicate, repeats=repeats)


def _is_unbroken() -> Column:
    """Whether a source's lines follow each other from the first byte to the last, every one once.

    Lines are edges from their first byte to the one behind their last. XOR of a hash of both ends cancels out but for
    ends that occur an odd number of times: where only the outermost two are left, the lines hold a walk from one to the
    other, and where their lengths add up to its distance, they are nothing else. One pass, nothing to sort; wrong for
    one in 2^64 of the inputs that are broken.
    """
    start, end = F.col("byte_offset"), F.col("byte_offset") + F.col("byte_length")
    loose_ends = F.bit_xor(F.xxhash64(start).bitwiseXOR(F.xxhash64(end)))
    outermost = F.xxhash64(F.min(start)).bitwiseXOR(F.xxhash64(F.max(end)))
    adds_up = F.sum("byte_length") == F.max(end) - F.min(start)
    return adds_up & (loose_ends == outermost) & (F.min("byte_length") > 0)


def _islands(per_line: DataFrame) -> Covered:
    """Covered intervals of sources whose lines leave gaps."""
    order = Window.partitionBy("source").orderBy("byte_offset")
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    end = F.col("byte_offset") + F.col("size")
    islands = (
        per_line.withColumn("_new", (F.col("byte_offset") != F.lag(end).over(order)).cast("int"))
        .withColumn("_island", F.coalesce(F.sum("_new").over(so_far), F.lit(0)))
        .groupBy("source", "_island")
        .agg(F.min("byte_offset").alias("start"), F.max(end).alias("end"))
        .collect()
    )
    result: Covered = {}
    for row in islands:
        result.setdefault(row.source, []).append((row.start, row.end))
    return {source: merged(parts) for source, parts in result.items()}


def _mark_by_join(lines: DataFrame, known: Covered, *, repeats: bool) -> DataFrame:
    rows = [(source, start, end) for source, parts in known.items() for start, end in parts]
    marks = lines.sparkSession.createDataFrame(rows, "_s string, _from bigint, _to bigint")
    inside = (
        (F.col("source") == F.col("_s"))
        & (F.col("byte_offset") >= F.col("_from"))
        & (F.col("byte_offset") < F.col("_to"))
    )
    joined = lines.join(F.broadcast(marks), inside, how="left")
    return _with_duplicates(joined, F.col("_s").isNotNull(), repeats=repeats).drop("_s", "_from", "_to")


def _with_duplicates(lines: DataFrame, duplicate: Column, *, repeats: bool) -> DataFrame:
    if repeats:
        arrival = Window.partitionBy("source", "byte_offset").orderBy("kafka_partition", "kafka_offset")
        again = F.col("source").isNotNull() & (F.row_number().over(arrival) > 1)
        duplicate = duplicate | again
    return lines.withColumn("is_duplicate", F.coalesce(duplicate, F.lit(False)))  # noqa: FBT003 - a Spark literal
