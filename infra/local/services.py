"""The services of the local stack: what starts each, what it needs, and how to tell that it is well."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from contracts.errors import ConfigurationError
from contracts.spark_conf import class_archive_java_options
from infra.local import health, machine
from infra.local.credentials import Credentials
from infra.local.places import Places, airflow_environment, base_environment, spark_environment

#: Slots, not CPUs: the stream and one batch application both hold two.
WORKER_CORES = 3
WORKER_MEMORY = "3g"
WORKERS = ("spark-worker-1", "spark-worker-2")

# Few threads for garbage collection and compilation: these daemons are many on a small machine.
_SMALL_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k"


@dataclass(frozen=True)
class Service:
    """One supervised program. ``check`` gets the time it was started at (epoch seconds) and raises NotHealthyError."""

    name: str
    command: tuple[str, ...]
    check: Callable[[float], None]
    environment: dict[str, str] = field(repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    url: str = ""
    needs: tuple[str, ...] = ()
    stopwaitsecs: int = 30
    #: False: SIGTERM goes to the process alone, which stops its own children in its own order.
    stop_as_group: bool = True
    #: Exit statuses that a restart would not mend.
    final_exit_codes: tuple[int, ...] = ()


def services(places: Places, credentials: Credentials) -> dict[str, Service]:
    """All services by name, in the order in which they are shown and started."""
    every = [
        _kafka(places),
        *_spark(places),
        _mlflow(places),
        *_airflow(places, credentials),
        _stream(places),
        _page(places),
    ]
    return {service.name: service for service in every}


def with_needs(wanted: list[str], known: dict[str, Service]) -> list[str]:
    """``wanted`` and everything it needs, in the order of ``known``; all of them when ``wanted`` is empty."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigurationError(
            "Choosing services",
            found=", ".join(unknown),
            required="names among " + ", ".join(known),
            next_step="Correct the name.",
        )
    chosen: set[str] = set()
    waiting = list(wanted or known)
    while waiting:
        name = waiting.pop()
        if name not in chosen:
            chosen.add(name)
            waiting += known[name].needs
    return [name for name in known if name in chosen]


def _kafka(places: Places) -> Service:
    ports = places.settings.ports
    return Service(
        name="kafka",
        command=(
            machine.java(), "-Xms128m", "-Xmx320m", *_SMALL_JVM.split(),
            f"-Dlog4j2.configurationFile={places.conf / 'log4j2.properties'}",
            "-cp", f"{places.settings.toolchain / 'jars' / 'kafka'}/*",
            "kafka.Kafka", str(places.conf / "kafka.properties"),
        ),
        environment=base_environment(places),
        check=lambda _: health.kafka(ports.kafka),
        ports={"broker": ports.kafka, "controller": ports.kafka_controller},
        url=f"127.0.0.1:{ports.kafka}",
    )  # fmt: skip


def _spark(places: Places) -> list[Service]:
    ports = places.settings.ports
    spark_class = str(places.spark_home / "bin" / "spark-class")
    environment = spark_environment(places) | {
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": f"{_SMALL_JVM} -Dlog4j2.configurationFile={places.conf / 'log4j2.properties'}",
        # All slots of an application on one worker where they fit: one executor JVM instead of two.
        "SPARK_MASTER_OPTS": "-Dspark.deploy.spreadOutApps=false",
    }
    properties = ("--properties-file", str(places.properties))
    master = Service(
        name="spark-master",
        command=(
            spark_class, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1",
            "--port", str(ports.spark_master), "--webui-port", str(ports.spark_master_ui), *properties,
        ),
        environment=environment,
        check=lambda _: health.spark_master(ports.spark_master_ui),
        ports={"master": ports.spark_master, "page": ports.spark_master_ui},
        url=f"http://127.0.0.1:{ports.spark_master_ui}",
    )  # fmt: skip
    workers = [
        Service(
            name=name,
            command=(
                spark_class, "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1",
                "--webui-port", str(port), "--cores", str(WORKER_CORES), "--memory", WORKER_MEMORY,
                "--work-dir", str(places.state / "work" / name), *properties, f"spark://127.0.0.1:{ports.spark_master}",
            ),
            environment=environment,
            check=partial(_worker_check, ports.spark_master_ui, port),
            ports={"page": port},
            url=f"http://127.0.0.1:{port}",
            needs=("spark-master",),
        )
        for name, port in zip(WORKERS, ports.spark_worker_ui, strict=True)
    ]  # fmt: skip
    return [master, *workers]


def _worker_check(master_ui_port: int, ui_port: int, _since: float) -> None:
    health.spark_worker(master_ui_port, ui_port)


def _mlflow(places: Places) -> Service:
    port = places.settings.ports.mlflow
    home = places.state / "mlflow"
    environment = base_environment(places)
    return Service(
        name="mlflow",
        command=(
            str(places.tool("spark", "mlflow")), "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}",
            "--artifacts-destination", (home / "artifacts").as_uri(),
        ),
        environment=environment | {
            "PATH": f"{places.tool('spark', '')}:{environment.get('PATH', '')}",
            # Its job runner starts six more processes: 1,782 MiB instead of 425.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        check=lambda _: health.mlflow(port),
        ports={"server": port},
        url=f"http://127.0.0.1:{port}",
    )  # fmt: skip


def _airflow(places: Places, credentials: Credentials) -> list[Service]:
    port = places.settings.ports.airflow
    environment = airflow_environment(places, credentials)
    binary = str(places.tool("airflow", "airflow"))
    api = Service(
        name="airflow-api-server",
        command=(binary, "api-server"),
        environment=environment,
        check=lambda _: health.airflow_api(port),
        ports={"server": port},
        url=f"http://127.0.0.1:{port}",
    )
    # --skip-serve-logs: their log servers would take two more, fixed, ports; everybody here can read the files.
    parts = {
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "dag-processor": ("dag-processor",),
        "triggerer": ("triggerer", "--capacity", "100", "--skip-serve-logs"),
    }
    return [api] + [
        Service(
            name=f"airflow-{name}",
            command=(binary, *arguments),
            environment=environment,
            check=partial(health.airflow_part, port, name.replace("-", "_")),
            needs=("airflow-api-server",),
        )
        for name, arguments in parts.items()
    ]


def _stream(places: Places) -> Service:
    settings = places.settings
    # The archive makes a restart quicker; no C1 here, the stream lives long.
    java = class_archive_java_options(settings.toolchain)
    submit = (
        "--master", settings.master, "--properties-file", str(places.properties), "--driver-memory", "1g",
        "--driver-java-options", java, "--conf", f"spark.executor.extraJavaOptions={java}",
        "--conf", "spark.executor.memory=1536m", "--conf", "spark.cores.max=2", "pyspark-shell",
    )  # fmt: skip
    return Service(
        name="stream",
        # Plain Python, not spark-submit: under spark-submit SIGTERM reaches only the JVM.
        command=(str(places.python("spark")), "-m", "streaming.access_log"),
        environment=spark_environment(places) | {"PYSPARK_SUBMIT_ARGS": shlex.join(submit)},
        check=lambda _: health.stream(settings.ports.stream_metrics),
        ports={"metrics": settings.ports.stream_metrics},
        url=f"http://127.0.0.1:{settings.ports.stream_metrics}/status",
        needs=("kafka", "spark-master", *WORKERS),
        stopwaitsecs=60,
        stop_as_group=False,
        final_exit_codes=(0, 2, 3, 4),
    )


def _page(places: Places) -> Service:
    port = places.settings.ports.page
    return Service(
        name="page",
        command=(str(places.python("serving")), "-m", "serving.app"),
        environment=base_environment(places),
        check=lambda _: health.page(port),
        ports={"server": port},
        url=f"http://127.0.0.1:{port}",
        stopwaitsecs=10,
    )
