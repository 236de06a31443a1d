"""A Spark application for the test of a worker's death: a sum whose parts take a second each."""

import sys
import time

from pyspark.sql import SparkSession

PARTS = 40


def part(number: int) -> int:
    time.sleep(1)
    return number * number


if __name__ == "__main__":
    spark = SparkSession.builder.getOrCreate()
    total = spark.sparkContext.parallelize(range(PARTS), PARTS).map(part).sum()
    print(f"TOTAL {total}")  # noqa: T201 - what the test reads
    spark.stop()
    sys.exit(0)
