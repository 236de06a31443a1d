"""A small Spark and Delta application that touches what short applications touch.

Set-up runs it once with ``-XX:ArchiveClassesAtExit``: the JVM writes the classes that were loaded to an archive, and
later applications map them instead of reading, verifying and linking them again.
"""

import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def main(folder: Path) -> None:
    """Write, read, merge and aggregate small tables below ``folder``, in ``local[2]``."""
    spark = SparkSession.builder.appName("class-data-sharing").getOrCreate()
    path = str(folder / "table")
    rows = spark.range(200).select(
        F.col("id"), (F.col("id") % 7).cast("int").alias("status"), F.expr("timestamp_seconds(id * 60)").alias("at"),
        F.concat(F.lit("line "), F.col("id")).alias("line"),
        F.expr("date'1995-07-09' + cast(id % 3 as int)").alias("day"),
    )  # fmt: skip
    rows.write.format("delta").partitionBy("day").mode("overwrite").save(path)
    rows.limit(20).write.format("delta").mode("append").option("txnAppId", "warm").option("txnVersion", "1").save(path)
    table = spark.read.format("delta").load(path)
    table.groupBy(F.window("at", "10 minutes"), "status").agg(
        F.count("*"), F.countDistinct("line"), F.sum("id")
    ).collect()
    table.withColumn("parsed", F.regexp_extract("line", r"line (\d+)", 1)).filter("try_cast(parsed as int) > 3").join(
        table.select("id", F.col("status").alias("other")), on="id", how="left"
    ).orderBy("id").limit(5).toPandas()
    rows.createOrReplaceTempView("news")
    spark.sql(
        f"MERGE INTO delta.`{path}` t USING news n ON t.id = n.id "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect()
    spark.read.format("delta").option("versionAsOf", 0).load(path).count()
    rows.write.mode("overwrite").parquet(str(folder / "parquet"))
    spark.read.parquet(str(folder / "parquet")).count()
    spark.createDataFrame([(1, "a")], "id bigint, name string").write.mode("overwrite").json(str(folder / "json"))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
