"""Stands in for every application of the DAGs: the same arguments, no data, no session, and an end as it is told.

What is under test is the way from Airflow through spark-submit to the run result and back, not the applications.
"""

import json
import os
import signal
import sys
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

from contracts.results import RunContext, RunResult
from contracts.settings import load_settings

DATASETS = ("silver.access_log", "gold.access_log_1m")


def main() -> int:
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument(
        "--ends", default="0", help="how each try ends, with commas: an exit code, killed, lost, asleep, nothing"
    )
    for name in ("--dag-id", "--run-id", "--task-id", "--window"):
        parser.add_argument(name)
    for name in ("--map-index", "--try-number"):
        parser.add_argument(name, type=int)
    args, _ = parser.parse_known_args()
    ends = args.ends.split(",")[args.try_number - 1]
    if ends == "asleep":
        time.sleep(600)
    if ends == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ends == "lost":
        return 1
    settings, now = load_settings(), datetime.now(UTC)
    code = int(ends) if ends.isdigit() else 0
    RunResult(
        context=RunContext(
            dag_id=args.dag_id, run_id=args.run_id, task_id=args.task_id, map_index=args.map_index,
            try_number=args.try_number,
        ),
        application="tiny", started_at=now, finished_at=now, exit_code=code,
        status="not_enough_data" if ends == "nothing" else "failed" if code else "done",
        message=f"ended as told: {ends}", hashes=dict.fromkeys(DATASETS, "0" * 64),
        facts={
            "window": json.loads(Path(args.window).read_text(encoding="utf-8")) if args.window else None,
            "verdicts": dict.fromkeys(DATASETS, 1), "table_versions": dict.fromkeys(DATASETS, 7),
        },
    ).write(settings.runs)  # fmt: skip
    return code


if __name__ == "__main__":
    sys.exit(main())
