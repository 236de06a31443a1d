"""The configuration files of one stack, rendered from its settings into ``<state>/conf``; some hold secrets."""

import shlex
import shutil
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.files import write_atomically
from contracts.spark_conf import spark_conf
from infra.local.credentials import Credentials
from infra.local.places import Places, inherited_environment
from infra.local.processes import MARKER
from infra.local.services import Service

_PACED = Path(__file__).with_name("paced.py")
_LOG4J2 = Path(__file__).with_name("log4j2.properties")


def folders(places: Places) -> None:
    """Make the folders that the services expect; the state is for this user alone."""
    for name in (
        "conf",
        "log",
        "run",
        "airflow",
        "mlflow/artifacts",
        "kafka",
        "work",
        "scratch",
        "lake",
        "runs",
        "locks",
    ):
        (places.state / name).mkdir(parents=True, exist_ok=True)
    places.state.chmod(0o700)


def configuration(places: Places, credentials: Credentials, known: dict[str, Service]) -> None:
    """Write every configuration file, each of mode 600, whole or not at all."""
    files = {
        places.conf / "kafka.properties": kafka(places),
        places.properties: spark(places, credentials),
    }
    for path, text in files.items():
        write_atomically(path, text)
        path.chmod(0o600)
    write_supervisor(places, known)
    shutil.copyfile(_LOG4J2, places.conf / "log4j2.properties")


def write_supervisor(places: Places, known: dict[str, Service]) -> None:
    """Write the supervisor's file alone, of mode 600."""
    path = places.conf / "supervisord.conf"
    write_atomically(path, supervisor(places, known))
    path.chmod(0o600)


def kafka(places: Places) -> str:
    ports = places.settings.ports
    listeners = f"PLAINTEXT://127.0.0.1:{ports.kafka},CONTROLLER://127.0.0.1:{ports.kafka_controller}"
    return _properties({
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports.kafka_controller}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(places.state / "kafka"),
        # One broker: nothing can be replicated.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # A topic made by a typing error would have the wrong settings; ours is made at start.
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": "16777216",
    })  # fmt: skip


def spark(places: Places, credentials: Credentials) -> str:
    """``spark-defaults.conf``: the platform's settings, this stack's master and its shared secret."""
    settings = places.settings
    log4j = f"-Dlog4j2.configurationFile={places.conf / 'log4j2.properties'}"
    return _properties(
        spark_conf(settings.toolchain / "jars" / "spark", settings.state) | {
            "spark.master": settings.master,
            "spark.authenticate": "true",
            "spark.authenticate.secret": credentials.spark_secret,
            # Without a limit the first application takes every slot.
            "spark.cores.max": "2",
            "spark.driver.defaultJavaOptions": log4j,
            "spark.executor.defaultJavaOptions": log4j,
            "spark.worker.cleanup.enabled": "true",
            "spark.worker.cleanup.appDataTtl": "7200",
        },
        separator=" ",
    )  # fmt: skip


def supervisor(places: Places, known: dict[str, Service]) -> str:
    """supervisord.conf. Nothing starts by itself: ``up`` starts each service when what it needs is well.

    With ``startsecs=0`` every end counts as one, and ``paced.py`` decides how long to wait before the next start.
    """
    head = f"""\
[unix_http_server]
file={_literal(str(places.socket))}
chmod=0700
[supervisord]
nodaemon=true
pidfile={_literal(str(places.supervisor_pid))}
logfile={_literal(str(places.supervisor_log))}
childlogdir={_literal(str(places.logs))}
logfile_maxbytes=0
minfds=4096
umask=077
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(_program(places, service) for service in known.values())


def _program(places: Places, service: Service) -> str:
    inherited = supervisor_environment(places)
    own = {key: value for key, value in service.environment.items() if inherited.get(key) != value}
    values = ",".join(f"{key}={_quoted(key, value)}" for key, value in sorted(own.items()))
    group = "true" if service.stop_as_group else "false"
    command = [str(places.python("tools")), "-I", "-S", str(_PACED), str(places.pace(service.name)), *service.command]
    return f"""\
[program:{service.name}]
command={_literal(shlex.join(command))}
environment={values}
directory={_literal(str(places.state))}
autostart=false
autorestart=unexpected
exitcodes={",".join(str(code) for code in service.final_exit_codes)}
startsecs=0
stopwaitsecs={service.stopwaitsecs}
stopasgroup={group}
killasgroup=true
redirect_stderr=true
stdout_logfile={_literal(str(places.logs / service.name))}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


def supervisor_environment(places: Places) -> dict[str, str]:
    """What supervisord itself runs with, and so every service that does not say otherwise."""
    return inherited_environment() | {MARKER: str(places.state)}


def _properties(values: dict[str, str], separator: str = "=") -> str:
    return "".join(f"{key}{separator}{value}\n" for key, value in values.items())


def _literal(text: str) -> str:
    # supervisord reads %(name)s as a variable.
    return text.replace("%", "%%")


def _quoted(variable: str, value: str) -> str:
    # supervisord's file knows no escapes inside quotes.
    for quote in "'\"":
        if quote not in value and "\n" not in value:
            return f"{quote}{_literal(value)}{quote}"
    raise ConfigurationError(
        f"Writing the supervisor's file, environment variable {variable}",
        found="a line end, or both kinds of quotes",
        required="a value on one line with at most one kind of quotes",
        next_step=f"Change {variable} and start again.",
    )
