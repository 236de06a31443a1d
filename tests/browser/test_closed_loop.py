"""Two champions drifted on purpose, in the whole stack: what follows, nobody does by hand.

Twenty minutes on two cores: `make test-loop`. MILLRACE_SCREENSHOTS=docs/images renews the pictures of docs/drift.md.
"""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from contracts.settings import REPOSITORY
from infra.local import runs
from tests.browser import airflow

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.local_stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.many, pytest.mark.timeout(4800)]

SAMPLES = REPOSITORY / "samples"
MORNING = SAMPLES / "nasa_http" / "access_09jul1995_am.log"
#: The level of this site changes in the course of the year.
SITE = SAMPLES / "uk_traffic" / "2014_TMU_Site_V2514_LM730.csv.gz"
#: Weeks of the year that the first champion knows; the next ones land one by one until a drift is confirmed.
FIRST_WEEK, LAST_KNOWN_WEEK, LAST_WEEK = 17, 40, 51


def test_a_later_part_of_the_year_drifts_the_champion_of_the_traffic(
    stack: Stack, browser: Browser, screenshots: Path, tmp_path: Path
) -> None:
    def land(first: int, last: int) -> None:
        path = tmp_path / f"V2514_{first:02}_{last:02}.csv"
        _weeks(path, first, last)
        _done(stack("ingest", "traffic_counts", str(path)))

    def weeks() -> Iterator[Callable[[], None]]:
        for week in range(LAST_KNOWN_WEEK + 1, LAST_WEEK + 1):
            yield lambda week=week: land(week, week)

    land(FIRST_WEEK, LAST_KNOWN_WEEK)
    _loop(stack, "uk_traffic", weeks(), browser, screenshots)


def test_a_scanner_drifts_the_champion_of_the_log(
    stack: Stack, browser: Browser, screenshots: Path, tmp_path: Path
) -> None:
    def replay(log: Path) -> None:
        _done(stack("replay", str(log)))
        _done(stack("drain"))

    def attack() -> Iterator[Callable[[], None]]:
        script = REPOSITORY / "benchmarks" / "scanner_attack.py"
        said = subprocess.run(
            [str(stack.places.python("spark")), str(script), "--from", "1995-07-09T12:00:00-04:00", "--minutes", "660"],
            capture_output=True,
            check=True,
        )
        (tmp_path / "attack.log").write_bytes(said.stdout)
        yield lambda: replay(tmp_path / "attack.log")

    replay(MORNING)
    _loop(stack, "access_log_volume", attack(), browser, screenshots)


def _loop(
    stack: Stack, pipeline: str, later: Iterator[Callable[[], None]], browser: Browser, screenshots: Path
) -> None:
    """From a first champion through drift to the gate's word about the challenger."""
    check, retrain = f"drift_check_{pipeline}", f"retrain_{pipeline}"
    # Whichever run is first trains: the one by hand, or one that the schedule owes since the DAG was switched on.
    _done(stack("trigger", retrain, "--wait", "--timeout", "1500"))
    first = _ledger(stack, pipeline)
    assert (first[0]["action"], first[0]["to_version"]) == ("promote", 1)
    api = runs.connect(stack.places)
    api.unpause(check)
    known = {run["dag_run_id"] for run in api.runs(retrain, 50)}
    for land in later:
        land()
        _done(stack("trigger", check, "--wait", "--timeout", "300"))
        if by_itself := _started(api, retrain, known):
            break
    else:
        pytest.fail("no check confirmed a drift")
    assert by_itself["run_type"] == "asset_triggered"
    assert api.wait(retrain, by_itself["dag_run_id"], 1500, lambda _: None) == "success"
    tasks = {task["task_id"]: task["state"] for task in api.tasks(retrain, by_itself["dag_run_id"])}
    assert tasks["evaluate"] == "success", tasks
    ledger = _ledger(stack, pipeline)
    assert len(ledger) == len(first) + 1
    # Promoted or refused: the gate decides, and says why, with what it saw.
    assert ledger[-1]["why"]
    assert ledger[-1]["evidence"]
    by_hand = max(run["dag_run_id"] for run in api.runs(check, 50) if run["run_type"] == "manual")
    _pictures(stack, browser, screenshots, pipeline, (check, by_hand), (retrain, by_itself["dag_run_id"]))


def _started(api: Any, dag: str, known: set[str]) -> dict[str, Any] | None:
    """The run that the asset started, once Airflow has made one; None after half a minute without."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        new = [run for run in api.runs(dag, 50) if run["dag_run_id"] not in known]
        if found := [run for run in new if run["run_type"] == "asset_triggered"]:
            return dict(found[0])
        time.sleep(1)
    return None


def _weeks(path: Path, first: int, last: int) -> None:
    """Those weeks of the year as a file of their own, in the publisher's form."""
    with gzip.open(SITE, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Local Date"))
    begin = date(2014, 1, 1) + timedelta(weeks=first - 1)
    end = date(2014, 1, 1) + timedelta(weeks=last)

    def is_in(line: str) -> bool:
        fields = next(csv.reader([line]), [])
        if not fields:
            return False
        day, month, year = map(int, fields[0].split("/"))
        return begin <= date(year, month, day) < end

    path.write_text("\n".join([*lines[: start + 1], *filter(is_in, lines[start + 1 :])]) + "\n", encoding="utf-8")


def _ledger(stack: Stack, pipeline: str) -> list[dict[str, Any]]:
    run = stack("registry", "history", pipeline, "--json")
    _done(run)
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def _done(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def _pictures(
    stack: Stack, browser: Browser, folder: Path, pipeline: str, check: tuple[str, str], retrain: tuple[str, str]
) -> None:
    """The check and the training as Airflow shows them, and the report of the check."""
    page = airflow.logged_in(browser, stack, check[0])
    for name, (dag, run_id) in {"check": check, "retrain": retrain}.items():
        page.goto(f"{airflow.address(stack)}/dags/{dag}/runs/{run_id}")
        page.wait_for_timeout(4000)
        page.screenshot(path=folder / f"drift_{pipeline}_{name}.png")
    reports = (stack.places.settings.drift_reports / pipeline).glob("*.html")
    newest = max((path for path in reports if path.name != "index.html"), key=lambda path: path.stat().st_mtime)
    page.goto(newest.as_uri())
    page.screenshot(path=folder / f"drift_{pipeline}_report.png", full_page=True)
    page.close()
