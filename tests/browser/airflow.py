"""Airflow's page of a stack, as a browser sees it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from contracts.results import RunContext
from infra.local import credentials

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.local_stack import Stack


def address(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.places.settings.ports.airflow}"


def logged_in(browser: Browser, stack: Stack, dag: str) -> Page:
    """A page that shows ``dag`` to the stack's user."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{address(stack)}/dags/{dag}")
    page.fill("input[name=username]", credentials.AIRFLOW_USER)
    page.fill("input[name=password]", credentials.load(stack.places.state).airflow_password)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Trigger").first.wait_for()
    return page


def trained_from_the_form(
    stack: Stack, browser: Browser, dag: str, backend: str, picture: Path, limit_s: float = 3000
) -> dict[str, Any]:
    """The run that somebody started from the form with this backend, in any case; it is green, and pictured."""
    known = {run["run_id"] for run in json.loads(stack("runs", dag, "--json").stdout)}
    page = logged_in(browser, stack, dag)
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("label:has(input[name=element_force])").click()
    page.locator("#element_backend").click()
    page.get_by_role("option", name=backend, exact=True).click()
    page.get_by_role("button", name="Trigger").last.click()
    run = finished_run(stack, dag, known, limit_s)
    assert (run["state"], run["conf"]["backend"]) == ("success", backend), run
    page.goto(f"{address(stack)}/dags/{dag}/runs/{run['run_id']}")
    page.wait_for_timeout(3000)
    page.screenshot(path=picture)
    page.close()
    return run


def assert_fitted_alike(stack: Stack, dag: str, here: dict[str, Any], there: dict[str, Any]) -> None:
    """Two runs trained on the same rows and measured the same; the second in Slurm, which knows of it."""
    fitted_here, fitted_there = (_train_result(stack, dag, run["run_id"]) for run in (here, there))
    assert fitted_here["hashes"]["snapshot"] == fitted_there["hashes"]["snapshot"]
    assert fitted_there["metrics"] == pytest.approx(fitted_here["metrics"], abs=1e-9)
    assert len(fitted_there["metrics"]) > 1
    jobs = (stack.places.settings.state / "slurm" / "log" / "jobcomp.txt").read_text(encoding="utf-8")
    assert any("fit_on_hpc" in job and dag in job for job in jobs.splitlines()), jobs


def _train_result(stack: Stack, dag: str, run_id: str) -> dict[str, Any]:
    folder = RunContext(dag_id=dag, run_id=run_id, task_id="train").run_folder(stack.places.settings.runs)
    (result,) = folder.glob("train/**/result.json")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def finished_run(stack: Stack, dag: str, known: set[str], limit_s: float = 900) -> dict[str, Any]:
    """The run by hand that is not among ``known``, once it is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = json.loads(stack("runs", dag, "--json").stdout)
        by_hand = [run for run in found if run["type"] == "manual" and run["run_id"] not in known]
        if by_hand and by_hand[0]["state"] in {"success", "failed"}:
            return dict(by_hand[0])
        time.sleep(2)
    raise AssertionError(f"no finished run of {dag} within {limit_s:.0f} s: {found}")
