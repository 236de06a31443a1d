"""spark-submit to a cluster of a given shape that lives as long as the application.

``local-cluster[workers,cores,MiB]`` starts a standalone master, workers and executors as processes of their own: what
differs from the platform's cluster is that nothing of it remains.
"""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from contracts.settings import Settings
from infra.local.applications import java_options
from infra.local.places import Places, spark_environment


class Shape(NamedTuple):
    """So many workers, each with one executor of so many cores and MiB of heap."""

    workers: int
    cores: int
    memory_mib: int = 1024

    @property
    def master(self) -> str:
        return f"local-cluster[{self.workers},{self.cores},{self.memory_mib}]"


def submit(shape: Shape | None, application: Path, *arguments: str, state: Path, log: Path, **conf: str) -> None:
    """Run it to its end on a cluster, or in one process without; a failure is a CalledProcessError.

    ``log`` is where its event log comes to lie, alone. ``conf`` are Spark settings with ``__`` for dots.
    """
    places = Places(Settings(state=state))
    jars = f"{places.settings.toolchain / 'jars' / 'spark'}/*"
    java = java_options(places, short=False)
    log.mkdir(parents=True)
    settings = {
        "spark.eventLog.enabled": "true", "spark.eventLog.dir": log.as_uri(), "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false", "spark.ui.enabled": "false",
        "spark.driver.extraClassPath": jars, "spark.executor.extraClassPath": jars,
        "spark.executor.extraJavaOptions": java, "spark.ui.showConsoleProgress": "false",
        **{key.replace("__", "."): value for key, value in conf.items()},
    }  # fmt: skip
    if shape:
        settings["spark.executor.memory"] = f"{shape.memory_mib}m"
    chosen = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    command = [
        str(places.spark_home / "bin" / "spark-submit"), "--master", shape.master if shape else "local[2]",
        "--driver-memory", "1g", "--driver-java-options", java, *chosen, str(application), *arguments,
    ]  # fmt: skip
    environment = os.environ | spark_environment(places) | {"MILLRACE_STATE": str(state)}
    subprocess.run(command, check=True, env=environment)
