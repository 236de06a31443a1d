"""The frame around every Spark application: arguments, settings, task lock, run result, exit code."""

import logging
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from contracts.errors import ExitCode, PlatformError
from contracts.results import Artefact, RunContext, RunResult, Status
from contracts.settings import Settings, load_settings
from spark_apps.io import locks, session

log = logging.getLogger("millrace")


class Outcome(BaseModel):
    """What an application's ``main`` returns; ``execute`` turns it into the run result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status = "done"
    message: str = ""
    rows: dict[str, int] = {}
    metrics: dict[str, float] = {}
    hashes: dict[str, str] = {}
    artefacts: list[Artefact] = []
    facts: dict[str, Any] = {}


def arguments(name: str, description: str | None) -> ArgumentParser:
    """A parser with the arguments that say which try of which task this is."""
    parser = ArgumentParser(prog=name, description=description, allow_abbrev=False)
    group = parser.add_argument_group("run", "set by Airflow; by hand the run is filed under the dag `cli`")
    group.add_argument("--dag-id", default="cli")
    group.add_argument("--run-id", default=None, help="default: made from the time")
    group.add_argument("--task-id", default=name)
    group.add_argument("--map-index", type=int, default=-1)
    group.add_argument("--try-number", type=int, default=1)
    return parser


def context_of(args: Namespace) -> RunContext:
    run_id = args.run_id or f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    return RunContext(
        dag_id=args.dag_id, run_id=run_id, task_id=args.task_id, map_index=args.map_index, try_number=args.try_number
    )


def execute(
    name: str,
    parse_args: Callable[[list[str]], Namespace],
    main: Callable[[Namespace, Settings, SparkSession], Outcome],
) -> int:
    """Run one application from ``sys.argv`` and return its exit code; the run result is written in every case.

    A deliberate error may carry what was found so far: ``error.outcome = Outcome(...)`` before it is raised.
    A PlatformError is printed as its message; any other exception is a bug: traceback, exit code 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # Great Expectations says 220 lines per validation about functions that it does not register.
    for chatty in ("py4j", "great_expectations"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    args = parse_args(sys.argv[1:])
    started = datetime.now(UTC)
    try:
        settings = load_settings()
    except PlatformError as error:
        return _complain(name, error)
    context = context_of(args)
    args.run_id = context.run_id

    def finish(status: Status, code: int, outcome: Outcome) -> int:
        fields = outcome.model_dump(exclude={"status", "message"})
        result = RunResult(
            context=context, application=name, status=status, exit_code=code, message=outcome.message,
            started_at=started, finished_at=datetime.now(UTC), **fields,
        )  # fmt: skip
        path = result.write(settings.runs)
        log.info("application=%s status=%s exit_code=%d result=%s", name, status, code, path)
        return code

    try:
        spark = session.start(settings)
        # Two tries of one task never write at the same time: a killed driver may live on for a moment.
        with locks.exclusive(spark, settings.locks / "tasks" / f"{context.key}.lock", f"Running {name}", wait_s=60):
            outcome = main(args, settings, spark)
    except PlatformError as error:
        found = error.outcome if isinstance(error.outcome, Outcome) else Outcome()
        finish("failed", int(error.exit_code), found.model_copy(update={"message": str(error)}))
        return _complain(name, error)
    except Exception as error:  # noqa: BLE001 - the frame of the process: a bug is filed, then shown whole
        finish("failed", 1, Outcome(message=f"{type(error).__name__}: {error}"))
        traceback.print_exc()
        return 1
    return finish(outcome.status, int(ExitCode.DONE), outcome)


def _complain(name: str, error: PlatformError) -> int:
    code = ExitCode(error.exit_code)
    print(f"{name}: {error} ({type(error).__name__}, exit {int(code)})", file=sys.stderr, flush=True)  # noqa: T201 - the message to the person
    return int(code)
