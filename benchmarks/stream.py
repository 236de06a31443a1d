"""Measure the streaming path: parse rate beside GoAccess, catch-up, freshness, files. `make bench-stream`.

    make bench-stream PARTS="[parse] [catch_up] [freshness] [--minutes N]"

Each part starts what it needs under a state folder and ports of its own, and stops it. Rates are per second of wall
time on an otherwise idle machine, parse rates per CPU second. `--minutes` is how long the freshness part sends 2,000
lines a second; an hour is what the goal on files speaks of.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks import delta_times, long_log
from benchmarks.figures import Figures
from benchmarks.processes import cpu_s_of
from contracts.datasets import GOLD_ACCESS_LOG_1M, SILVER_ACCESS_LOG
from contracts.settings import REPOSITORY, Settings
from contracts.spark_conf import COMPILE_ALL
from streaming.drain import driver_status

PARTS = ("parse", "catch_up", "freshness")
CATCH_UP_LINES = 2_400_000
PARSE_LINES = 1_200_000
RATE = 2_000
PORT_BASE = 28000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default all)")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the freshness part (default 60)")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"found the parts {sorted(unknown)}, required some of {', '.join(PARTS)}")
    parts = args.parts or PARTS
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        os.environ["MILLRACE_PORTS__BASE"] = str(PORT_BASE)
        measures = {"parse": parse, "catch_up": catch_up, "freshness": partial(freshness, minutes=args.minutes)}
        for part in parts:
            # What one part leaves in Kafka and in the lake is no business of the next.
            os.environ["MILLRACE_STATE"] = f"{folder}/{part}"
            measures[part](Path(folder), figures)
        print(f"written to {figures.write('stream').relative_to(REPOSITORY)}")


def parse(folder: Path, figures: Figures) -> None:
    """CPU seconds of the parser and of GoAccess for the same file, read from disk by both."""
    from spark_apps.io import session
    from spark_apps.transforms import access_log

    path = folder / "parse.log"
    lines = long_log.write_days(path, PARSE_LINES)
    spark = session.start(Settings(), "bench", spark__master="local[2]", spark__driver__memory="3g")
    frame = spark.read.text(str(path)).selectExpr("cast(value as binary) line", "current_timestamp() kafka_at")
    jvm = int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())  # noqa: SLF001 - for its CPU time
    rates = []
    for _ in range(10):
        before = cpu_s_of(jvm)
        access_log.parse(frame).write.format("noop").mode("overwrite").save()
        rates.append(lines / (cpu_s_of(jvm) - before))
    spark.stop()
    # The first ones compile; the middle one of the last five is what a running stream sees.
    ours = sorted(rates[-5:])[2]
    figures.add("parse_lines_per_core_s", ours, "lines/CPU s", ">= 200,000")
    if not shutil.which("goaccess"):
        print("goaccess is not installed (Debian package goaccess): no comparison")
        return
    theirs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [
            "goaccess",
            str(path),
            "--no-global-config",
            "--log-format=COMMON",
            "--no-ip-validation",
            "-o",
            f"{folder}/report.json",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        theirs.append(lines / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    figures.add("goaccess_lines_per_core_s", sorted(theirs)[1], "lines/CPU s")
    figures.add("parse_rate_over_goaccess", ours / sorted(theirs)[1], "ratio", ">= 1.2")


def catch_up(folder: Path, figures: Figures) -> None:
    """Lines per second from a full topic into the tables, first without gold, then with every gold table."""
    path = folder / "catch_up.log"
    long_log.write_days(path, CATCH_UP_LINES)
    with _stack("kafka"):
        _run("streaming.replay", str(path), "--json")
        for name, gold, goal in (
            ("catch_up_lines_per_s", False, ">= 45,000"),
            ("catch_up_with_gold_lines_per_s", True, ">= 20,000, stretch 30,000"),
        ):
            figures.add(name, _catch_up_rate(gold=gold), "lines/s", goal)
            for part in ("lake", "checkpoints", "ops.db", "ops.db-wal", "ops.db-shm"):
                target = Settings().state / part
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def _catch_up_rate(*, gold: bool) -> float:
    """Rate after the first two micro-batches (class loading, compilation), until silver, or gold, holds everything."""
    extra = {"MILLRACE_STREAM__GOLD_TRIGGER_S": "10" if gold else "1000000"}
    with _driver(extra):
        _wait(lambda s: s["state"] == "running" and s["rows"]["bronze"] >= CATCH_UP_LINES, 600)
        if gold:
            _wait(lambda s: s["gold_version"] == _version(), 600)
        ended = datetime.now(UTC)
    with create_engine(Settings().ops_database).connect() as connection:
        rows = connection.execute(text("SELECT bronze, committed_at FROM stream_batches ORDER BY batch_id")).all()
    times = [datetime.fromisoformat(str(row[1])).replace(tzinfo=UTC) for row in rows]
    seconds = ((ended if gold else times[-1]) - times[1]).total_seconds()
    return sum(int(row[0]) for row in rows[2:]) / seconds


def freshness(folder: Path, figures: Figures, minutes: float) -> None:
    """p95 of the time from Kafka's append to visible in silver, gold and the page, alone and beside a retraining."""
    from infra.local import runs
    from infra.local.places import Places

    seconds = int(minutes * 60)
    path = folder / "live.log"
    with _stack():
        # What the retraining is trained on; 2,000 lines a second for some minutes are no day.
        _run("streaming.replay", str(long_log.SAMPLE), "--json")
        _run("streaming.drain", "--json")
        long_log.write_live(path, datetime.now(UTC) + timedelta(seconds=20), RATE, seconds)
        pushes: list[float] = []
        _listen(pushes)
        sent_from = datetime.now(UTC)
        replay = subprocess.Popen(
            [sys.executable, "-m", "streaming.replay", str(path), "--rate", str(RATE), "--json"], cwd=REPOSITORY
        )
        time.sleep(seconds * 0.6)
        api = runs.connect(Places(Settings()))
        began = datetime.now(UTC)
        _retrain(runs, api)
        ended = datetime.now(UTC)
        replay.wait(seconds * 2 + 600)
        _run("streaming.drain", "--json")
        silver, gold = SILVER_ACCESS_LOG.path(Settings().lake), GOLD_ACCESS_LOG_1M.path(Settings().lake)
        rows = delta_times.arrivals(silver)
        # The first minutes compile; a stream that has run for five does not. They are a figure of their own.
        warm = sent_from + timedelta(seconds=min(300, seconds * 0.2))
        cold = [r for r in rows if r.appended_at < warm]
        alone = [r for r in rows if warm <= r.appended_at < began]
        beside = [r for r in rows if began <= r.appended_at < ended]
        covers = delta_times.gold_commits(gold)
        figures.add("freshness_while_compiling_p95_s", delta_times.p95_s(cold), "s")
        figures.add("freshness_p95_s", delta_times.p95_s(alone), "s", "<= 6")
        figures.add("freshness_beside_retraining_p95_s", delta_times.p95_s(beside), "s", "<= 15")
        figures.add("gold_freshness_p95_s", delta_times.p95_s(delta_times.through(alone, covers)), "s")
        figures.add(
            "gold_freshness_beside_retraining_p95_s", delta_times.p95_s(delta_times.through(beside, covers)), "s"
        )
        seen = delta_times.then_pushed(delta_times.through(alone, covers), pushes)
        figures.add("page_freshness_p95_s", delta_times.p95_s(seen), "s")
        figures.add("freshness_minutes", minutes, "min at 2,000 lines/s")
        files = [file for file in Settings().lake.rglob("*") if file.is_file()]
        figures.add("lake_files", len(files), "files")
        figures.add("lake_bytes_per_line", sum(file.stat().st_size for file in files) / (seconds * RATE), "bytes/line")
        live = delta_times.live_files(Settings().lake)
        figures.add("live_data_files", live, "files in the newest versions", "bounded")


def _retrain(runs: Any, api: Any) -> None:  # noqa: ANN401 - infra's module and client
    day = datetime.now(UTC).date().isoformat()  # of arrival: the sample's and the live lines'
    run_id = runs.trigger(api, "retrain_access_log_volume", {"first_day": day, "last_day": day, "force": True}, print)
    try:
        runs.wait(api, "retrain_access_log_volume", run_id, 1200, print)
    except Exception as error:  # noqa: BLE001 - a refused model is still a retraining that used the cores
        print(f"retraining ended: {error}")


def _listen(pushes: list[float]) -> None:
    """Note the time of every event that the live page is sent."""

    def read() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT_BASE + 10}/api/events") as answer:
            pushes.extend(time.time() for line in answer if line.startswith(b"data:"))

    threading.Thread(target=read, daemon=True).start()


@contextmanager
def _stack(*services: str) -> Iterator[None]:
    command = [str(REPOSITORY / "bin" / "millrace")]
    subprocess.run([*command, "up", *services], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "down"], check=True)


@contextmanager
def _driver(extra: dict[str, str]) -> Iterator[None]:
    submit = f"--master local[2] --driver-memory 3g --driver-java-options {COMPILE_ALL} pyspark-shell"
    with (Path(os.environ["MILLRACE_STATE"]) / "driver.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streaming.access_log"], cwd=REPOSITORY, stdout=log, stderr=log,
            env=os.environ | extra | {"PYSPARK_SUBMIT_ARGS": submit},
        )  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(180)


def _wait(condition: Any, limit_s: float) -> dict[str, Any]:  # noqa: ANN401 - a predicate on the status
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        status = driver_status(Settings())
        if status is not None and condition(status):
            return status
        time.sleep(0.1)
    raise TimeoutError(f"not within {limit_s:.0f} s; see {Settings().state}/driver.log")


def _version() -> int:
    from deltalake import DeltaTable

    return int(DeltaTable(str(SILVER_ACCESS_LOG.path(Settings().lake))).version())


def _run(module: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


if __name__ == "__main__":
    main()
