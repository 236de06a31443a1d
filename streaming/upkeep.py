"""The frame of the commands that mend the stream's tables: settings, session, ops database, exit code."""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager

from pyspark.sql import SparkSession
from sqlalchemy import Engine

from contracts.errors import ExitCode, PlatformError
from contracts.settings import Settings, load_settings
from spark_apps.io import locks, ops, session, tables
from streaming.ingest import batch_lock


def execute(name: str, args: Namespace, main: Callable[[Namespace, Settings, SparkSession, Engine], str]) -> int:
    """Run ``main`` with a session in this process, print the sentence it returns, give the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("py4j", "kafka"):
        # A broker that is away is said by our own error, once.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        settings = load_settings()
        spark = session.start(settings, name)
        try:
            print(main(args, settings, spark, ops.connect(settings.ops_database)))  # noqa: T201 - the answer to the person
        finally:
            spark.stop()
    except PlatformError as error:
        print(f"{name}: {error} ({type(error).__name__}, exit {int(error.exit_code)})", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    return int(ExitCode.DONE)


def between_batches(spark: SparkSession, settings: Settings, attempted: str) -> AbstractContextManager[None]:
    """Keep the stream from writing a micro-batch while the block runs; it waits, and goes on afterwards."""
    return locks.exclusive(spark, batch_lock(settings), attempted, wait_s=tables.LOCK_WAIT_S)


def while_stopped(spark: SparkSession, settings: Settings, attempted: str) -> AbstractContextManager[None]:
    """Refuse while a streaming driver runs, and keep one from starting while the block runs."""
    return locks.exclusive(spark, settings.locks / "stream" / "driver.lock", attempted)
