"""What the containers of the Spark images start: ``entry ROLE [ARGUMENTS]``.

Writes Spark's settings, the shared secret included, to a file of this container alone and becomes the role's program.
"""

import os
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from contracts.errors import ConfigurationError, PlatformError
from contracts.files import write_atomically
from contracts.profiles import profile
from contracts.settings import REPOSITORY, Settings, load_settings
from contracts.spark_conf import class_archive_java_options, short_application_java_options, spark_conf

SECRETS = Path("/run/secrets")
#: The name on the network between containers alone: the master must not listen on the network of its web page.
MASTER_HOST = "spark-master.internal"
MASTER_PORT, MASTER_PAGE_PORT, WORKER_PAGE_PORT = 7077, 8080, 8081
#: Slots, not CPUs, as in the local stack: the stream and one batch application both hold two.
WORKER_CORES = "3"
#: The stream's executor (1.5 GiB) and a small one, or a large one, beside each other.
WORKER_MEMORY = "2560m"

_LOG4J = f"-Dlog4j2.configurationFile={REPOSITORY / 'infra' / 'local' / 'log4j2.properties'}"
_SMALL_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k"

Command = tuple[list[str], dict[str, str]]


def spark_properties(settings: Settings, secret: str) -> str:
    """``spark-defaults.conf`` of this container."""
    values = spark_conf(settings.toolchain / "jars" / "spark", settings.state, settings.driver_host) | {
        "spark.master": settings.master,
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        # What goes between containers is encrypted, Kafka's password in a task's options included.
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
        # Without a limit the first application takes every slot.
        "spark.cores.max": "2",
        "spark.driver.defaultJavaOptions": _LOG4J,
        "spark.executor.defaultJavaOptions": _LOG4J,
        "spark.worker.cleanup.enabled": "true",
        "spark.worker.cleanup.appDataTtl": "7200",
    }
    return "".join(f"{key} {value}\n" for key, value in values.items())


def properties_file(settings: Settings) -> Path:
    """Where the DAGs' operator expects it too; in containers a file system in memory, of one container alone."""
    return settings.state / "conf" / "spark-defaults.conf"


def master(settings: Settings, _arguments: list[str]) -> Command:
    command = [
        "spark-class", "org.apache.spark.deploy.master.Master", "--host", MASTER_HOST, "--port", str(MASTER_PORT),
        "--webui-port", str(MASTER_PAGE_PORT), "--properties-file", str(properties_file(settings)),
    ]  # fmt: skip
    return command, _daemon("256m") | {"SPARK_MASTER_OPTS": "-Dspark.deploy.spreadOutApps=false"}


def worker(settings: Settings, _arguments: list[str]) -> Command:
    command = [
        "spark-class", "org.apache.spark.deploy.worker.Worker", "--webui-port", str(WORKER_PAGE_PORT),
        "--cores", WORKER_CORES, "--memory", WORKER_MEMORY, "--work-dir", "/scratch/work",
        "--properties-file", str(properties_file(settings)), settings.master,
    ]  # fmt: skip
    return command, _daemon("256m")


def stream(settings: Settings, arguments: list[str]) -> Command:
    # The archive makes a restart quicker; no C1 here, the stream lives long.
    java = class_archive_java_options(settings.toolchain)
    submit = (
        "--master", settings.master, "--properties-file", str(properties_file(settings)), "--driver-memory", "1g",
        "--driver-java-options", java, "--conf", f"spark.executor.extraJavaOptions={java}",
        "--conf", "spark.executor.memory=1536m", "--conf", "spark.cores.max=2", "pyspark-shell",
    )  # fmt: skip
    # Plain Python, not spark-submit: under spark-submit SIGTERM reaches only the JVM.
    command = ["python", "-m", "streaming.access_log", *arguments]
    return command, {"PYSPARK_SUBMIT_ARGS": shlex.join(submit)}


def submit(settings: Settings, arguments: list[str]) -> Command:
    """``submit APP [ARGS]``: an application of ``spark_apps/`` on the cluster, with the small profile."""
    path = REPOSITORY / "spark_apps" / f"{arguments[0] if arguments else ''}.py"
    if not path.exists():
        raise ConfigurationError(
            "Submitting an application", found=f"no {path}", required="submit APP [ARGUMENTS]",
            next_step="Name a file of spark_apps/ without its ending.",
        )  # fmt: skip
    size, java = profile("small"), short_application_java_options(settings.toolchain)
    command = [
        str(REPOSITORY / "bin" / "spark-submit-guarded"), "--properties-file", str(properties_file(settings)),
        "--driver-memory", f"{size.driver_memory_mib}m", "--executor-memory", f"{size.executor_memory_mib}m",
        "--total-executor-cores", str(size.cores), "--driver-java-options", java,
        "--conf", f"spark.executor.extraJavaOptions={java}", "--name", f"cli.{path.stem}", str(path), *arguments[1:],
    ]  # fmt: skip
    return command, {}


def notebook(_settings: Settings, _arguments: list[str]) -> Command:
    token = _secret("notebook_token")
    python = str(REPOSITORY / ".millrace" / "env" / "notebook" / "bin" / "python")
    command = [
        python, "-m", "jupyterlab", "--ip", "0.0.0.0", "--port", "8888", "--no-browser", "--notebook-dir", "/notebooks",  # noqa: S104 - published on loopback
    ]  # fmt: skip
    return command, {"JUPYTER_TOKEN": token}


def _module(name: str) -> Callable[[Settings, list[str]], Command]:
    def role(_settings: Settings, arguments: list[str]) -> Command:
        return ["python", "-m", name, *arguments], {}

    return role


def _airflow(_settings: Settings, arguments: list[str]) -> Command:
    return ["airflow", *arguments], {}


ROLES: dict[str, Callable[[Settings, list[str]], Command]] = {
    "spark-master": master,
    "spark-worker": worker,
    "stream": stream,
    "submit": submit,
    "notebook": notebook,
    "replay": _module("streaming.replay"),
    "drain": _module("streaming.drain"),
    "topics": _module("streaming.topics"),
    "kafka-access": _module("infra.images.kafka_access"),
    "airflow": _airflow,
    "airflow-start": _module("infra.images.airflow_start"),
}


def main(argv: list[str]) -> int:
    """Does not return where the role's program starts; 2 where a setting or a secret is wrong."""
    try:
        if not argv or argv[0] not in ROLES:
            raise ConfigurationError(
                "Starting a container", found=" ".join(argv) or "no role", required="one of " + ", ".join(ROLES),
                next_step="Correct the command of the service.",
            )  # fmt: skip
        # By its address where no name is set: it is the one thing that every other container can resolve.
        os.environ.setdefault("MILLRACE_DRIVER_HOST", socket.gethostbyname(socket.gethostname()))
        settings = load_settings()
        if (SECRETS / "spark_secret").exists():
            path = properties_file(settings)
            write_atomically(path, spark_properties(settings, _secret("spark_secret")))
            path.chmod(0o600)
        command, environment = ROLES[argv[0]](settings, argv[1:])
    except PlatformError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    os.environ.update(environment)
    return os.execvp(command[0], command)  # noqa: S606 - no shell wanted


def _daemon(memory: str) -> dict[str, str]:
    return {"SPARK_DAEMON_MEMORY": memory, "SPARK_DAEMON_JAVA_OPTS": f"{_SMALL_JVM} {_LOG4J}"}


def _secret(name: str) -> str:
    try:
        return (SECRETS / name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"Reading the secret {name}", found=error.strerror or "no file", required=f"a file {SECRETS / name}",
            next_step="Name it under `secrets:` of the service; infra/images/secret_files.py makes the files.",
        ) from error  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
