"""Spark settings of the platform, in one place: rendered into ``spark-defaults.conf`` and used by local sessions."""

from pathlib import Path

#: Generated code of a wide projection easily passes 8,000 bytes, above which the JVM refuses to compile a method:
#: the log parser then runs interpreted (docs/decisions/0007).
COMPILE_ALL = "-XX:-DontCompileHugeMethods"

LOOPBACK = "127.0.0.1"


def spark_conf(jars: Path, state: Path, driver_host: str = LOOPBACK) -> dict[str, str]:
    """Settings for small data on few cores; the reasons are measurements from the design's notes.

    ``jars`` holds the Delta and Kafka archives. They go on the class path of driver and executors instead of
    ``spark.jars``: nothing is copied per application, and the class path stays the one that the class-data-sharing
    archive was made for. ``driver_host`` is the name that executors reach the driver by.
    """
    return {
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.executor.extraClassPath": f"{jars}/*",
        "spark.driver.extraJavaOptions": COMPILE_ALL,
        "spark.executor.extraJavaOptions": COMPILE_ALL,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.warehouse.dir": f"{state}/lake/warehouse",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": driver_host,
        # A name that others know may stand for another address here, or for several.
        "spark.driver.bindAddress": LOOPBACK if driver_host == LOOPBACK else "0.0.0.0",  # noqa: S104 - asked for
        "spark.ui.enabled": "false",
        # Where in Python a column was made: several calls to the JVM for each one, for a line more in an error.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Of Spark's usual 200 and Delta's 50 each is a task, empty or not: most of what a small table's commit costs.
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "1",
        # Commits of one process to one table follow each other; against other processes tables have lock files.
        "spark.databricks.delta.commitLock.enabled": "true",
        # Two commits that change nothing for each vacuum would hide the last one that says what a table covers.
        "spark.databricks.delta.vacuum.logging.enabled": "false",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    }


def class_archive(toolchain: Path) -> Path:
    """The class-data-sharing archive that set-up makes for short applications."""
    return toolchain / "cds" / "spark.jsa"


def class_archive_java_options(toolchain: Path) -> str:
    """Java options of every JVM of ours, with the class archive where set-up has made it.

    The JVM ignores an archive that was made for another class path, and says nothing about it.
    """
    archive = class_archive(toolchain)
    if not archive.exists():
        return COMPILE_ALL
    path = f'"{archive}"' if " " in str(archive) else str(archive)
    return f"{COMPILE_ALL} -XX:SharedArchiveFile={path} -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off"


def short_application_java_options(toolchain: Path) -> str:
    """Java options for driver and executors that live for less than a few minutes; longer ones want the C2 compiler.

    A tiny Delta application takes 10 seconds of CPU with these, 13 without the archive, 23 without any of it.
    """
    return f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {class_archive_java_options(toolchain)}".rstrip()
