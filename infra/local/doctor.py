"""Find out what is wrong: one line per check, OK or PROBLEM, with what to do."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts.errors import PlatformError
from contracts.spark_conf import class_archive
from infra.local import health, machine, preflight, processes, runs, setup, supervision
from infra.local.places import Places, spark_environment
from infra.local.stack import ServiceStatus, StackStatus, status
from infra.slurm import packages

_MANY_RESTARTS = 3


@dataclass(frozen=True)
class Finding:
    """``problem`` is empty when all is well; otherwise it says what was found and what to do."""

    about: str
    detail: str
    problem: str = ""

    def __str__(self) -> str:
        return f"PROBLEM  {self.about}: {self.problem}" if self.problem else f"OK       {self.about}: {self.detail}"


def examine(places: Places) -> Iterator[Finding]:
    """All findings, cheapest first; those about a running stack only where one runs."""
    yield from _toolchain(places)
    yield _asked("disk", "enough room", lambda: preflight.disk(places))
    report = status(places)
    if report.state == "down":
        yield _asked("memory", f"{processes.available_memory_mib() / 1024:.1f} GiB available", preflight.memory)
        yield from _services([service for service in report.services if service.wanted])
        yield from _down(places)
        return
    free = processes.available_memory_mib()
    yield Finding("memory", f"the stack uses {report.memory_mib / 1024:.1f} GiB, {free / 1024:.1f} GiB are available")
    yield from _services(report.services)
    yield from _topic(places, report)
    yield from _spark(places)
    yield from _airflow(places)
    yield from _stream(places)
    yield _locks(places)


def _toolchain(places: Places) -> Iterator[Finding]:
    version = machine.java_version()
    allowed = f"{machine.JAVA_VERSIONS.start} to {machine.JAVA_VERSIONS.stop - 1}"
    good = version in machine.JAVA_VERSIONS
    yield Finding(
        "java",
        f"version {version}",
        "" if good else f"found {version or 'none'}, required {allowed}. Run: bin/millrace setup",
    )
    late = setup.Setup(places.settings.toolchain).pending()
    yield Finding("set-up", "complete", f"not up to date: {', '.join(late)}. Run: bin/millrace setup" if late else "")
    archive = class_archive(places.settings.toolchain)
    yield Finding(
        "class archive",
        str(archive),
        "" if archive.exists() else "missing: applications start slower. Run: bin/millrace setup",
    )
    browser = shutil.which("chromium")
    yield Finding("browser tests", browser or "no chromium, they are skipped (Debian package chromium)")
    lacking = packages.missing("dbd")
    without = f"not installed: {', '.join(lacking)}. For `up --hpc` and its tests: {packages.install_line(lacking)}"
    yield Finding("Slurm lab", without if lacking else "its Debian packages are installed")


def _down(places: Places) -> Iterator[Finding]:
    yield _asked("earlier start", "nothing is left of it", lambda: _none_of_ours(places))
    yield Finding("stack", "down. Start it with: bin/millrace up")


def _none_of_ours(places: Places) -> None:
    preflight.refuse_orphans(places)


def _services(found: list[ServiceStatus]) -> Iterator[Finding]:
    for service in found:
        if not service.wanted:
            yield Finding(service.name, "was not asked for")
            continue
        problem = ""
        if service.health != "healthy":
            problem = f"{service.state}, {service.health}. Read: bin/millrace logs {service.name}"
        elif service.restarts >= _MANY_RESTARTS:
            problem = (
                f"restarted {service.restarts} times, last {service.last_end}. Read: bin/millrace logs {service.name}"
            )
        restarts = f", restarted {service.restarts} times" if service.restarts else ""
        yield Finding(service.name, f"healthy, {service.memory_mib} MiB{restarts}", problem)


def _topic(places: Places, report: StackStatus) -> Iterator[Finding]:
    if not any(service.name == "kafka" and service.health == "healthy" for service in report.services):
        return
    command = [str(places.python("spark")), "-m", "streaming.topics", "check"]
    run = subprocess.run(
        command, env=spark_environment(places), capture_output=True, text=True, check=False, timeout=60
    )
    said = " ".join(run.stderr.split())
    yield Finding(f"topic {places.settings.stream.topic}", said, said if run.returncode else "")


def _spark(places: Places) -> Iterator[Finding]:
    try:
        master = health.fetch_json(f"http://127.0.0.1:{places.settings.ports.spark_master_ui}/json/")
    except health.NotHealthyError as error:
        yield Finding("spark slots", "", f"{error}. Read: bin/millrace logs spark-master")
        return
    waiting = [app["name"] for app in master["activeapps"] if app["state"] == "WAITING"]
    problem = (
        f"applications wait for slots or memory: {', '.join(waiting)}. They start when another ends." if waiting else ""
    )
    names = ", ".join(app["name"] for app in master["activeapps"]) or "no application"
    yield Finding(
        "spark slots",
        f"{master['coresused']} of {master['cores']} in use on {master['aliveworkers']} workers ({names})",
        problem,
    )


def _airflow(places: Places) -> Iterator[Finding]:
    try:
        errors = runs.connect(places).import_errors()
    except PlatformError as error:
        yield Finding("airflow", "", str(error))
        return
    shown = "; ".join(f"{error['filename']}: {str(error['stack_trace']).strip().splitlines()[-1]}" for error in errors)
    yield Finding(
        "airflow", "every DAG file can be read", f"import errors: {shown}. Correct the file." if errors else ""
    )


def _stream(places: Places) -> Iterator[Finding]:
    try:
        report = health.fetch_json(f"http://127.0.0.1:{places.settings.ports.stream_metrics}/status")
    except health.NotHealthyError:
        return
    error = report.get("error")
    yield Finding(
        "stream progress", f"batch {report.get('last_batch')}, {report.get('lag_records')} records wait",
        f"{error}. Read: bin/millrace logs stream" if error else "",
    )  # fmt: skip


def _locks(places: Places) -> Finding:
    """Lock files are freed by the system when their holder dies, so each held one names a living process."""
    family = {process.pid for process in supervision.family(places)}
    foreign = [
        f"{path.relative_to(places.settings.locks)} by pid {pid} ({processes.command(pid, 60)})"
        for path, pid in processes.lock_holders(places.settings.locks)
        if pid not in family
    ]
    return Finding(
        "locks",
        "none is held from outside the stack",
        f"held from outside the stack: {'; '.join(foreign)}. Writers wait for it." if foreign else "",
    )


def _asked(about: str, detail: str, question: Callable[[], object]) -> Finding:
    try:
        question()
    except PlatformError as error:
        return Finding(about, detail, str(error))
    return Finding(about, detail)
