"""Airflow's page of a stack, as a browser sees it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from infra.local import credentials

if TYPE_CHECKING:
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
