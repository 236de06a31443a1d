"""The main job as a person does it: start everything, stream a real log, press Trigger in Airflow, look at the page."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, expect

from contracts.settings import REPOSITORY
from infra.local import supervision
from infra.slurm import packages
from tests.browser import airflow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

DAG = "retrain_access_log_volume"
MORNING = REPOSITORY / "samples" / "nasa_http" / "access_09jul1995_am.log"


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
    page = airflow.logged_in(browser, stack, DAG)
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("label:has(input[name=element_force])").click()
    page.screenshot(path=screenshots / "airflow_form.png")
    page.get_by_role("button", name="Trigger").last.click()
    run = airflow.finished_run(stack, DAG, known=set())
    assert run["state"] == "success", run
    page.goto(f"{airflow.address(stack)}/dags/{DAG}")
    expect(page.get_by_text("promote").first).to_be_visible()
    page.wait_for_timeout(3000)
    page.screenshot(path=screenshots / "airflow_retrain.png")
    page.close()


@pytest.mark.hpc
def test_the_same_form_with_backend_hpc_trains_in_slurm_and_measures_the_same(
    stack: Stack, drained: dict[str, Any], browser: Browser, screenshots: Path
) -> None:
    """After the test above: the same rows, validated here, fitted there, registered here."""
    if lacking := packages.missing("filetxt"):
        pytest.skip(f"needs Debian packages: {packages.install_line(lacking)}")
    assert drained["tables"]["silver"] == 12_430
    before = json.loads(stack("runs", DAG, "--json").stdout)
    here = next(run for run in before if run["tasks"].get("train") == "success")
    there = airflow.trained_from_the_form(stack, browser, DAG, "hpc", screenshots / "airflow_retrain_hpc.png")
    # Not better than the champion, which is the same.
    assert (there["tasks"]["fit_on_hpc"], there["tasks"]["promote"]) == ("success", "skipped")
    airflow.assert_fitted_alike(stack, DAG, here, there)


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
