"""Commands that run a Python module or a Spark application of the platform in the environment ``spark``.

Each replaces this process by the other program (execve), so that Ctrl-C, standard input and the exit code are its own.
"""

import os
import shlex
import sys
from pathlib import Path

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.profiles import HPC_PROFILES, PROFILES, profile
from contracts.settings import REPOSITORY
from contracts.spark_conf import class_archive_java_options, short_application_java_options
from infra.local import health
from infra.local.places import Places, spark_environment

#: Command -> module, and what `millrace --help` says. Their arguments, `--help` included, are the module's own.
MODULES = {
    "replay": ("streaming.replay", "stream log files into Kafka, resumable"),
    "drain": ("streaming.drain", "let the stream consume everything that waits; table totals"),
    "reprocess": ("streaming.reprocess", "parse bronze or quarantine again with the parser of today"),
    "erase-host": ("streaming.erase", "remove one host from every layer"),
    "new-pipeline": ("infra.scaffold", "the files of a new pipeline over a landed table"),
    "fetch-data": ("infra.data.fetch", "download large originals, checked and resumable"),
    "registry": ("spark_apps.commands.registry", "who was in production; every decision; back to an earlier champion"),
    "stream recover": ("streaming.recover", "rebuild silver from bronze after a lost or damaged checkpoint"),
}
#: Commands that are an application: `millrace validate …` is `millrace submit validate …`.
SHORTCUTS = {
    "ingest": "ingest", "validate": "validate", "reconcile": "reconcile", "train": "train", "score": "score",
    "drift": "check_drift",
}  # fmt: skip
_DRIVER_MEMORY_OF_MODULES = "1g"


def run_module(places: Places, module: str, arguments: list[str]) -> int:
    """Replace this process by ``python -m module arguments``. A Spark session that it starts is local, two cores."""
    jars = f"{places.settings.toolchain / 'jars' / 'spark'}/*"
    submit = (
        "--master", "local[2]", "--driver-memory", _DRIVER_MEMORY_OF_MODULES, "--driver-class-path", jars,
        # A large backlog wants the C2 compiler.
        "--driver-java-options", java_options(places, short=False), "pyspark-shell",
    )  # fmt: skip
    python = str(places.python("spark"))
    return _replace([python, "-m", module, *arguments], places, {"PYSPARK_SUBMIT_ARGS": shlex.join(submit)})


def submit(places: Places, arguments: list[str]) -> int:
    """``[--profile NAME | --local] APP [ARGS]``: spark-submit ``spark_apps/APP.py`` with the project's settings."""
    options, app, rest = _split(arguments)
    size = profile(options.get("--profile", "small"))
    if app is None or "--help" in options:
        print(_USAGE.format(apps="\n  ".join(_apps()), profiles=", ".join(PROFILES)))
        return 0 if "--help" in options else 2
    if options.get("--profile") in HPC_PROFILES:
        raise ConfigurationError(
            f"Submitting {app} with profile {options['--profile']}", found="a profile of an HPC partition",
            required=f"one of {', '.join(PROFILES)}: this command submits to the platform's own cluster",
            next_step="Jobs go there from Airflow: start retrain_<pipeline> with backend hpc.",
        )  # fmt: skip
    path = REPOSITORY / "spark_apps" / f"{app}.py"
    if app not in _apps():
        raise ConfigurationError(
            f"Submitting {app}",
            found=f"no {path}",
            required="one of " + ", ".join(_apps()),
            next_step="Correct the name.",
        )
    java = java_options(places, short=size.short_lived)
    # Whoever asks what it takes needs no cluster for that.
    if "--local" in options or {"-h", "--help"} & set(rest):
        where = ["--master", "local[2]", "--driver-class-path", f"{places.settings.toolchain / 'jars' / 'spark'}/*"]
    else:
        _require_cluster(places)
        where = [
            "--properties-file", str(places.properties), "--total-executor-cores", str(size.cores),
            "--executor-memory", f"{size.executor_memory_mib}m",
        ]  # fmt: skip
        where += ["--conf", f"spark.executor.extraJavaOptions={java_options(places, short=size.short_lived)}"]
    command = [
        str(places.spark_home / "bin" / "spark-submit"), *where, "--driver-memory", f"{size.driver_memory_mib}m",
        "--driver-java-options", java, "--name", f"cli.{app}", str(path), *rest,
    ]  # fmt: skip
    return _replace(command, places, {})


def _split(arguments: list[str]) -> tuple[dict[str, str], str | None, list[str]]:
    """Our own options (before or after APP), APP, and what belongs to the application."""
    options: dict[str, str] = {}
    app: str | None = None
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += words
        elif word == "--local" or (word in ("-h", "--help") and app is None):
            options["--local" if word == "--local" else "--help"] = ""
        elif word == "--profile" or word.startswith("--profile="):
            options["--profile"] = word.partition("=")[2] or next(words, "")
        elif app is None and word.startswith("-"):
            raise ConfigurationError(
                "Submitting an application",
                found=f"{word} before its name",
                required="--profile NAME or --local",
                next_step="Put the application's own arguments after its name; see millrace submit --help.",
            )
        elif app is None:
            app = word
        else:
            rest.append(word)
    return options, app, rest


def _apps() -> list[str]:
    return sorted(path.stem for path in (REPOSITORY / "spark_apps").glob("*.py") if path.stem != "__init__")


def java_options(places: Places, *, short: bool) -> str:
    """Of drivers and executors; ``short`` is for those that live for less than a few minutes."""
    archive = short_application_java_options if short else class_archive_java_options
    # Spark's own default writes every INFO line to the terminal.
    log4j = REPOSITORY / "infra" / "local" / "log4j2.properties"
    return f"{archive(places.settings.toolchain)} -Dlog4j2.configurationFile={log4j}".strip()


def _require_cluster(places: Places) -> None:
    if places.settings.spark_master:
        return
    try:
        report = health.fetch_json(f"http://127.0.0.1:{places.settings.ports.spark_master_ui}/json/")
        alive = int(report["aliveworkers"])
        found = f"{alive} workers alive"
    except health.NotHealthyError as error:
        alive, found = 0, str(error)
    if not alive or not places.properties.exists():
        raise DependencyUnavailableError(
            "Submitting to the cluster",
            found=found,
            required="a Spark master with a worker",
            next_step="Run bin/millrace up, or add --local to run in this process alone.",
        )


def _replace(command: list[str], places: Places, extra: dict[str, str]) -> int:
    # The person's own environment, not the narrow one of services: a terminal, a locale, a proxy.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "PYSPARK_"))}
    if not Path(command[0]).exists():
        raise ConfigurationError(
            f"Running {shlex.join(command[:3])}",
            found=f"no {command[0]}",
            required="the environments of set-up",
            next_step="Run: bin/millrace setup",
        )
    sys.stdout.flush()
    os.execve(command[0], command, environment | spark_environment(places) | extra)  # noqa: S606 - no shell wanted


_USAGE = """\
usage: millrace submit [--profile NAME | --local] APP [ARGS]

Spark-submits spark_apps/APP.py to the local cluster with the project's settings; `millrace submit APP --help` shows
what APP takes. --local runs it in one process without the stack. Profiles: {profiles}. Applications:

  {apps}
"""
