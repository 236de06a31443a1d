"""The main job as a person does it: start everything, stream a real log, press Trigger in Airflow, look at the page."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, expect

from contracts.settings import REPOSITORY
from infra.local import credentials, supervision
from tests.local_stack import Stack, free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]

DAG = "retrain_access_log_volume"
MORNING = REPOSITORY / "samples" / "nasa_http" / "access_09jul1995_am.log"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("whole") / "state", free_base())
    run = found("up")
    assert run.returncode == 0, run.stdout + run.stderr
    yield found
    found("down")


@pytest.fixture(scope="module")
def drained(stack: Stack) -> dict[str, Any]:
    """What `drain --json` says after the morning was replayed."""
    assert stack("replay", str(MORNING)).returncode == 0
    run = stack("drain", "--json")
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def test_every_line_of_the_morning_is_in_silver(drained: dict[str, Any]) -> None:
    assert drained["tables"] == {"bronze": 12_430, "silver": 12_430, "quarantine": 0}
    assert (drained["quarantine_reasons"], drained["duplicates"]) == ({}, 0)


def test_replaying_the_file_again_adds_nothing_to_silver(stack: Stack, drained: dict[str, Any]) -> None:
    assert stack("replay", "--from-start", str(MORNING)).returncode == 0
    again = json.loads(stack("drain", "--json").stdout.strip().splitlines()[-1])
    assert again["tables"]["silver"] == drained["tables"]["silver"]
    assert again["duplicates"] == again["tables"]["bronze"] - 12_430 == 12_430


def test_a_retraining_started_from_the_form_in_airflow_turns_green(
    stack: Stack, drained: dict[str, Any], browser: Browser, screenshots: Path
) -> None:
    assert drained["tables"]["silver"] == 12_430
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    _log_in(page, stack)
    page.goto(f"{_airflow(stack)}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    force = page.locator("label:has(input[name=element_force])")
    force.click()
    page.screenshot(path=screenshots / "airflow_form.png")
    page.get_by_role("button", name="Trigger").last.click()
    run = _finished_run(stack)
    assert run["state"] == "success", run
    page.goto(f"{_airflow(stack)}/dags/{DAG}")
    expect(page.get_by_text("promote").first).to_be_visible()
    page.wait_for_timeout(3000)
    page.screenshot(path=screenshots / "airflow_retrain.png")
    page.close()


def test_the_live_page_shows_the_morning(
    stack: Stack, drained: dict[str, Any], browser: Browser, screenshots: Path
) -> None:
    assert drained["tables"]["silver"] == 12_430
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"http://127.0.0.1:{stack.places.settings.ports.page}")
    expect(page.locator("body")).to_contain_text("12,430", timeout=30_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=screenshots / "live_page.png", full_page=True)
    page.close()


def test_nothing_of_ours_runs_after_down(stack: Stack) -> None:
    report = json.loads(stack("status", "--json").stdout)
    assert all(service["memory_mib"] > 0 for service in report["services"])
    before = supervision.family(stack.places)
    assert before
    assert stack("down").returncode == 0
    assert not supervision.family(stack.places)
    assert not [process for process in before if process.is_alive()]


@pytest.mark.parametrize(
    ("notebook", "shown", "pictures"),
    [("live_tables", "12430", 2), ("occupation_study", "each_node", 1)],
)
def test_a_notebook_runs_from_top_to_bottom(
    stack: Stack, tmp_path: Path, notebook: str, shown: str, pictures: int
) -> None:
    """On the tables of this morning, or, for the study, on the committed results and made-up rows."""
    python = stack.places.python("notebook")
    if not python.exists():
        pytest.skip(f"needs {python} (bin/millrace setup --notebook)")
    jupyter = [str(python), "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MILLRACE_STATE": str(stack.places.state)}
    source = REPOSITORY / "notebooks" / f"{notebook}.ipynb"
    run = subprocess.run(
        [*jupyter, str(source)], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert run.returncode == 0, run.stderr[-4000:]
    executed = (tmp_path / source.name).read_text(encoding="utf-8")
    assert shown in executed
    assert executed.count('"image/png"') == pictures
    # What is committed was executed too: outputs and all, in order.
    for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]:
        assert cell["cell_type"] != "code" or cell["execution_count"], "execute the notebook before committing it"


def _airflow(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.places.settings.ports.airflow}"


def _log_in(page: Page, stack: Stack) -> None:
    page.goto(f"{_airflow(stack)}/dags/{DAG}")
    page.fill("input[name=username]", credentials.AIRFLOW_USER)
    page.fill("input[name=password]", credentials.load(stack.places.state).airflow_password)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Trigger").first.wait_for()


def _finished_run(stack: Stack, limit_s: float = 900) -> dict[str, Any]:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = json.loads(stack("runs", DAG, "--json").stdout)
        manual = [run for run in found if run["type"] == "manual"]
        if manual and manual[0]["state"] in {"success", "failed"}:
            return manual[0]
        time.sleep(2)
    raise AssertionError(f"no finished run of {DAG} within {limit_s:.0f} s: {found}")
