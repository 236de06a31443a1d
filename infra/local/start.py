"""One start of services: each as soon as what it needs is healthy, with the preparations that must come before."""

import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from contracts.errors import DependencyUnavailableError
from infra.local import credentials, machine, supervision
from infra.local.health import NotHealthyError
from infra.local.places import Places, airflow_environment, base_environment, spark_environment
from infra.local.services import Service

Say = Callable[[str], None]

#: Supervisor states from which a service does not come back by itself.
_FINAL = ("fatal", "exited")
#: Deaths after which `up` gives up on a service; the supervisor itself goes on trying.
_PATIENCE = 3
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


@dataclass(frozen=True)
class Preparation:
    """A command that has to succeed ``before`` some services start; None from ``command`` means it was done earlier."""

    name: str
    before: tuple[str, ...]
    command: Callable[[Places], tuple[list[str], dict[str, str]] | None]
    needs: tuple[str, ...] = ()


class Start:
    """``chosen`` must end up healthy; those named in ``starting`` do not run yet."""

    def __init__(
        self, places: Places, chosen: list[Service], starting: set[str], *, say: Say, timeout_s: float
    ) -> None:
        self._places, self._say = places, say
        self._known = {service.name: service for service in chosen}
        self._began = time.monotonic()
        self._timeout_s = timeout_s
        self._unhealthy = list(self._known)
        self._not_started = [name for name in self._known if name in starting]
        self._quiet = not starting
        self._died_before = {name: died.count for name, died in supervision.deaths(places).items()}
        self._complaints: dict[str, str] = {}
        self._not_prepared = [
            p for p in _PREPARATIONS if {*p.before, *p.needs} & starting and set(p.needs) <= set(self._known)
        ]
        self._preparing: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Return when all is healthy; otherwise DependencyUnavailableError with the last log lines of the culprit."""
        while self._unhealthy or self._not_prepared:
            self._prepare()
            self._launch()
            self._look()
            if time.monotonic() - self._began > self._timeout_s:
                late = [p.name for p in self._not_prepared] + [n for n in self._unhealthy if n not in self._not_started]
                name = (late or self._not_started)[0]
                raise self._failure(name, f"{self._complaints.get(name, 'not ready')} after {self._timeout_s:.0f} s")
            time.sleep(0.2)

    def _prepare(self) -> None:
        for preparation in list(self._not_prepared):
            if any(need in self._unhealthy for need in preparation.needs):
                continue
            if preparation.name not in self._preparing:
                command = preparation.command(self._places)
                if command is None:
                    self._not_prepared.remove(preparation)
                    continue
                self._preparing[preparation.name] = self._spawn(preparation.name, *command)
            code = self._preparing[preparation.name].poll()
            if code == 0:
                self._not_prepared.remove(preparation)
                self._say(f"  {preparation.name:<22} done    after {time.monotonic() - self._began:5.1f} s")
            elif code is not None:
                raise self._failure(preparation.name, f"exit status {code}")

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self._places.logs / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=self._places.state,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _launch(self) -> None:
        for name in list(self._not_started):
            prepared = not any(name in preparation.before for preparation in self._not_prepared)
            if prepared and not any(need in self._unhealthy for need in self._known[name].needs):
                supervision.start(self._places, name)
                self._not_started.remove(name)

    def _look(self) -> None:
        states, deaths = supervision.states(self._places), supervision.deaths(self._places)
        for name in [name for name in self._unhealthy if name not in self._not_started]:
            state = states[name]
            died = deaths.get(name, supervision.Deaths())
            if state.name in _FINAL or died.count - self._died_before.get(name, 0) >= _PATIENCE:
                raise self._failure(name, f"{state.name}: {died.last or state.description}")
            health = health_of(self._known[name], state)
            if health == "healthy":
                self._unhealthy.remove(name)
                if not self._quiet:
                    self._say(
                        f"  {name:<22} healthy after {time.monotonic() - self._began:5.1f} s   {self._known[name].url}"
                    )
            else:
                self._complaints[name] = health

    def _failure(self, name: str, why: str) -> DependencyUnavailableError:
        said = f"The last lines of {self._places.logs / name}.log:\n{last_lines(self._places, name)}\n"
        return DependencyUnavailableError(
            f"Starting {name}", found=f"{why}. {said}",
            required="a healthy service", changed="The other services keep running.",
            next_step="Mend the cause, then run bin/millrace up again; or bin/millrace down.",
        )  # fmt: skip


def health_of(service: Service, state: supervision.State) -> str:
    """``healthy``, ``down`` (nobody wants it to run), or what is wrong."""
    if state.name == "stopped":
        return "down"
    if state.pid == 0 or state.name == "waiting":
        return f"{state.name}: {state.description}"
    try:
        service.check(state.started_at)
    except NotHealthyError as error:
        return str(error)
    return "healthy"


def last_lines(places: Places, name: str, count: int = 20) -> str:
    """The end of a service's log, or a note in parentheses that there is none."""
    path = places.logs / f"{name}.log"
    if not path.exists():
        return f"(no {path})"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    return "\n".join(lines) or f"({path} is empty)"


def _kafka_format(places: Places) -> tuple[list[str], dict[str, str]] | None:
    if (places.state / "kafka" / "meta.properties").exists():
        return None
    cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    command = [
        machine.java(), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
        f"-Dlog4j2.configurationFile={places.conf / 'log4j2.properties'}",
        "-cp", f"{places.settings.toolchain / 'jars' / 'kafka'}/*", "kafka.tools.StorageTool", "format", "--standalone",
        f"--cluster-id={cluster}", "-c", str(places.conf / "kafka.properties"),
    ]  # fmt: skip
    return command, base_environment(places)


def _airflow_db(places: Places) -> tuple[list[str], dict[str, str]] | None:
    # Its tables belong to a version; the command line alone takes six seconds of CPU.
    home = places.state / "airflow"
    installed = (places.settings.toolchain / "env" / "airflow").glob(
        "lib/python3*/site-packages/apache_airflow_core-*.dist-info"
    )
    version = next((path.name for path in installed), "unknown")
    stamp = home / f".migrated-to-{version}"
    if stamp.exists() and (home / "airflow.db").exists():
        return None
    script = 'rm -f "$2"/.migrated-to-*; "$1" db migrate && touch "$3"'
    command = ["/bin/sh", "-c", script, "sh", str(places.tool("airflow", "airflow")), str(home), str(stamp)]
    return command, airflow_environment(places, credentials.load(places.state))


def _topic(places: Places) -> tuple[list[str], dict[str, str]]:
    return [str(places.python("spark")), "-m", "streaming.topics", "ensure"], spark_environment(places)


_PREPARATIONS = (
    Preparation("kafka-format", before=("kafka",), command=_kafka_format),
    Preparation("airflow-db", before=AIRFLOW, command=_airflow_db),
    Preparation("topic", before=("stream",), command=_topic, needs=("kafka",)),
)
