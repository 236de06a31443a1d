"""The client of Airflow's REST API before a server that fails now and then."""

from __future__ import annotations

import io
import json
import urllib.error
from typing import TYPE_CHECKING, Any

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError
from infra.local import airflow_api
from infra.local.airflow_api import AirflowApi

if TYPE_CHECKING:
    from urllib.request import Request


class Server:
    """Answers each request with the next status, and keeps what was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.sent = list(statuses), []

    def open(self, request: Request, timeout: float) -> Any:
        assert timeout > 0
        self.sent.append(json.loads(request.data or b"{}"))
        status = self.statuses.pop(0)
        if status == 200:
            return io.BytesIO(b"{}")
        raise urllib.error.HTTPError(request.full_url, status, "", {}, io.BytesIO(b"said so"))


@pytest.fixture
def asked(monkeypatch):
    def of(*statuses: int) -> tuple[AirflowApi, Server]:
        server = Server(*statuses)
        monkeypatch.setattr(airflow_api, "_OPENER", server)
        monkeypatch.setattr(airflow_api, "_PAUSES_S", (0.0, 0.0))
        return AirflowApi("http://127.0.0.1:1", "t"), server

    return of


@pytest.mark.parametrize("statuses", [(200,), (500, 200), (500, 503, 200)])
def test_a_server_that_fails_for_a_moment_is_asked_again_for_the_same_run(asked, statuses):
    api, server = asked(*statuses)
    run_id = api.trigger("retrain_higgs", {"force": True})
    assert [sent["dag_run_id"] for sent in server.sent] == [run_id] * len(statuses)


def test_a_run_that_was_made_although_the_server_failed_is_not_made_twice(asked):
    api, server = asked(500, 409)
    assert api.trigger("retrain_higgs") == server.sent[0]["dag_run_id"]


def test_a_server_that_goes_on_failing_is_told(asked):
    api, server = asked(500, 500, 500)
    with pytest.raises(DependencyUnavailableError, match="status 500: said so"):
        api.trigger("retrain_higgs")
    assert len(server.sent) == 3


def test_a_refusal_is_told_at_once(asked):
    api, server = asked(404)
    with pytest.raises(ConfigurationError, match="status 404"):
        api.trigger("no_such_dag")
    assert len(server.sent) == 1
