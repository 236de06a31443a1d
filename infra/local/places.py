"""Where the tools, the logs and the sockets of one stack are, and the environment variables its processes get."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.settings import REPOSITORY, Settings
from infra.local import hpc
from infra.local.credentials import Credentials

#: A Unix socket's address holds 107 bytes; supervisord adds ``.<pid>`` while it binds.
_LONGEST_SOCKET = 95


@dataclass(frozen=True)
class Places:
    """Paths of one stack, derived from the settings alone."""

    settings: Settings

    @property
    def state(self) -> Path:
        return self.settings.state

    @property
    def conf(self) -> Path:
        return self.state / "conf"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def supervisor_pid(self) -> Path:
        return self.run / "supervisord.pid"

    @property
    def session(self) -> Path:
        """Which process began the session that the services run in."""
        return self.run / "session.json"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisord.log"

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the state folder, or in the temporary folder where that path is too long."""
        inside = self.run / "supervisor.sock"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET:
            return inside
        name = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}-{name}.sock"

    def pace(self, service: str) -> Path:
        """What ``paced.py`` remembers of the last start of a service."""
        return self.run / f"{service}.pace"

    @property
    def properties(self) -> Path:
        """Spark properties of this stack, the shared secret included; for ``spark-submit --properties-file``."""
        return self.conf / "spark-defaults.conf"

    def python(self, environment: str) -> Path:
        return self.settings.toolchain / "env" / environment / "bin" / "python"

    def tool(self, environment: str, name: str) -> Path:
        return self.settings.toolchain / "env" / environment / "bin" / name

    @property
    def spark_home(self) -> Path:
        # lib/python3*, not lib*/python3*: in some environments lib64 is a link to lib and would match twice.
        found = sorted((self.settings.toolchain / "env" / "spark" / "lib").glob("python3*/site-packages/pyspark"))
        if not found:
            raise ConfigurationError(
                "Looking for Spark",
                found=f"no pyspark under {self.settings.toolchain / 'env' / 'spark'}",
                required="the environments that set-up builds",
                next_step="Run: bin/millrace setup",
            )
        return found[0]


#: What a service may inherit from the shell that typed `up`: enough to run and to reach a webhook, nothing else.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
)  # fmt: skip


def inherited_environment() -> dict[str, str]:
    """The variables of this process that services get too."""
    return {key: os.environ[key] for key in _INHERITED if key in os.environ}


def settings_environment(settings: Settings) -> dict[str, str]:
    """``MILLRACE_*`` as this process has them, with the two roots spelled out, for a child in another environment."""
    given = {key: value for key, value in os.environ.items() if key.upper().startswith("MILLRACE_")}
    return given | {"MILLRACE_STATE": str(settings.state), "MILLRACE_TOOLCHAIN": str(settings.toolchain)}


def base_environment(places: Places) -> dict[str, str]:
    """What every process of the platform gets: settings, import path, loopback without a proxy. No secret."""
    loopback = "127.0.0.1,localhost"
    return (
        inherited_environment()
        | settings_environment(places.settings)
        | {
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": loopback,
            "no_proxy": loopback,
        }
    )


def spark_environment(places: Places) -> dict[str, str]:
    """``base_environment`` plus what spark-submit and PySpark need to find Spark, Java options and Python.

    SPARK_CONF_DIR stays unset: Spark puts that folder on the class path, and a JVM ignores its class-data-sharing
    archive when a folder with files is on the class path. ``--properties-file`` does the same job.
    """
    home = places.spark_home
    return base_environment(places) | {
        "SPARK_HOME": str(home),
        "PATH": f"{places.tool('spark', '')}:{home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": str(places.python("spark")),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(places.state / "scratch"),
        # The launcher is a JVM of its own that lives for half a second.
        "SPARK_LAUNCHER_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }


def airflow_environment(places: Places, credentials: Credentials) -> dict[str, str]:
    """Everything that Airflow's four components and its tasks need; tasks reach Spark by SPARK_HOME and PATH."""
    settings = places.settings
    home = places.state / "airflow"
    spark = spark_environment(places) | hpc.airflow_variables(settings)
    url = f"http://127.0.0.1:{settings.ports.airflow}"
    master_host, _, master_port = settings.master.rpartition(":")
    connection = {
        "conn_type": "spark",
        "host": master_host,
        "port": int(master_port),
        "extra": {"deploy-mode": "client"},
    }
    ours = spark | {
        "PATH": f"{places.tool('airflow', '')}:{spark['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_SPARK_CLUSTER": json.dumps(connection),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "dags" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # 32 idle task workers otherwise: 1.1 GiB instead of 0.6.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "4",
        "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(credentials.airflow_passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.ports.airflow),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": credentials.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return _with_chosen(ours, settings)


def _with_chosen(ours: dict[str, str], settings: Settings) -> dict[str, str]:
    """Airflow's options as the person chose them win over ours; so do a command or a secret that gives an option."""
    chosen = {
        f"AIRFLOW__{section}__{name}".upper(): value
        for section, options in settings.airflow.items()
        for name, value in options.items()
    }
    given = {name.removesuffix(ending) for name in chosen for ending in ("_CMD", "_SECRET")}
    return {name: value for name, value in ours.items() if name not in given} | chosen
