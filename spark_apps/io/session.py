"""The Spark session: the one place that starts it and fixes time zone and Delta settings."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from contracts.settings import Settings
from contracts.spark_conf import spark_conf
from spark_apps.io import jvm


def start(settings: Settings, name: str | None = None, **extra: str) -> SparkSession:
    """Start, or join, the session of this process.

    Under spark-submit master and memory come from the command line; a process started as plain Python runs in
    ``local[2]`` unless PYSPARK_SUBMIT_ARGS names a master. ``extra`` are Spark settings with ``__`` for dots.
    """
    # pyspark hands out timestamps as naive datetimes in the *process's* zone: make that UTC as well.
    os.environ["TZ"] = "UTC"
    time.tzset()
    builder = SparkSession.Builder()
    if name:
        builder = builder.appName(name)
    jars = settings.toolchain / "jars" / "spark"
    for key, value in spark_conf(jars, settings.state, settings.driver_host).items():
        builder = builder.config(key, value)
    for key, value in extra.items():
        builder = builder.config(key.replace("__", "."), value)
    spark = builder.getOrCreate()
    jvm.remember_classes(spark)
    spark.sparkContext.setLogLevel("WARN")
    return spark


@contextmanager
def checkpoints(spark: SparkSession, settings: Settings) -> Iterator[None]:
    """For the block, a folder that cuts long lineages: driver and executors of this machine both reach it."""
    home = settings.state / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="checkpoints-") as folder:
        # Spark would warn that a path of this machine's is no path of the workers', which all see the state folder.
        spark.sparkContext.setLogLevel("ERROR")
        spark.sparkContext.setCheckpointDir(folder)
        spark.sparkContext.setLogLevel("WARN")
        yield
