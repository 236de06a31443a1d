"""Frames of a handful of rows without a Python process.

``createDataFrame`` of a list packs its rows in batches of a fixed size, and Spark repacks them in Python workers each
time the frame is read. Packed as Spark wants them from the start, they never leave the JVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.core.rdd import RDD
from pyspark.serializers import AutoBatchedSerializer, CPickleSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark import SparkContext


def keep_in_the_jvm(context: SparkContext) -> None:
    """Replace ``parallelize`` of this context, which ``createDataFrame`` calls."""

    def parallelize(rows: Iterable[Any], slices: int | None = None) -> RDD[Any]:
        number = slices or context.defaultParallelism
        serializer = AutoBatchedSerializer(CPickleSerializer())

        def read(file: str) -> object:
            return context._jvm.PythonRDD.readRDDFromFile(context._jsc, file, number)

        def serve() -> object:
            return context._jvm.PythonParallelizeServer(context._jsc.sc(), number)

        return RDD(context._serialize_to_jvm(list(rows), serializer, read, serve), context, serializer)

    context.parallelize = parallelize  # type: ignore[method-assign]
