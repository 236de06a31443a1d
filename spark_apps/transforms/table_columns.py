"""Columns of a table as they stand, one example a row."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def features(rows: DataFrame, *, key: tuple[str, ...], label: str, columns: list[str]) -> DataFrame:
    """Rows of a landed table -> ``source_file``, key, label and ``columns``; NaN, which is no number, becomes null."""
    kept = list(dict.fromkeys(["source_file", *key, label, *columns]))
    floating = {name for name, kind in rows.dtypes if kind in ("double", "float")}
    return rows.select(*[F.nanvl(name, F.lit(None)).alias(name) if name in floating else name for name in kept])
