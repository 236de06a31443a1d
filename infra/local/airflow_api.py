"""A small client of Airflow's REST API, version 2: log in, unpause, trigger, wait, read logs."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

from contracts.errors import ConfigurationError, DependencyUnavailableError
from infra.local.credentials import AIRFLOW_USER

# Never through a proxy: the API server is on loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_FINISHED = ("success", "failed")


#: Between the tries of a request that the server failed to answer.
_PAUSES_S = (1.0, 3.0)


class ServerFailedError(DependencyUnavailableError):
    """The server answered with a failure of its own: the same request may succeed a moment later."""


@dataclass(frozen=True, repr=False)
class AirflowApi:
    """Calls with the token of one login; it is valid for a day."""

    base: str
    token: str

    @classmethod
    def login(cls, port: int, password: str) -> Self:
        """The API server on ``port``; DependencyUnavailableError when it does not answer."""
        base = f"http://127.0.0.1:{port}"
        answer = _request("POST", f"{base}/auth/token", {}, {"username": AIRFLOW_USER, "password": password})
        return cls(base, answer["access_token"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """One request below ``/api/v2``; a refusal is a ConfigurationError with Airflow's own words.

        Asked again where the server failed: SQLite lets one write at a time, and whoever waits too long is told 500.
        """
        for pause_s in _PAUSES_S:
            try:
                return self._ask(method, path, body)
            except ServerFailedError:
                time.sleep(pause_s)
        return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - JSON
        return _request(method, f"{self.base}/api/v2{path}", {"Authorization": f"Bearer {self.token}"}, body)

    def set_pool(self, name: str, slots: int, about: str) -> None:
        """Make the pool, or give it this size."""
        known = {pool["name"] for pool in self.call("GET", "/pools?limit=100")["pools"]}
        body = {"name": name, "slots": slots, "description": about, "include_deferred": False}
        if name in known:
            self.call(
                "PATCH",
                f"/pools/{quote(name)}",
                {"pool": name, **{key: body[key] for key in ("slots", "description", "include_deferred")}},
            )
        else:
            self.call("POST", "/pools", body)

    def import_errors(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/importErrors?limit=100")["import_errors"])

    def dag_ids(self) -> list[str]:
        return [dag["dag_id"] for dag in self.call("GET", "/dags?limit=100")["dags"]]

    def unpause(self, dag: str) -> None:
        self.call("PATCH", f"/dags/{quote(dag)}", {"is_paused": False})

    def trigger(self, dag: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run by hand and return its id. The null logical date is required, and means: no data interval."""
        # With an id of ours, so that asking again for a run that was made after all is refused and not a second run.
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        try:
            self.call("POST", f"/dags/{quote(dag)}/dagRuns", body)
        except ConfigurationError as error:
            if "status 409" not in error.found:
                raise
        return run_id

    def runs(self, dag: str, limit: int = 20) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self.call("GET", f"/dags/{quote(dag)}/dagRuns?order_by=-run_after&limit={limit}")["dag_runs"])

    def run(self, dag: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/dags/{quote(dag)}/dagRuns/{quote(run_id)}"))

    def run_url(self, dag: str, run_id: str) -> str:
        """The run's page in Airflow, for a person."""
        return f"{self.base}/dags/{quote(dag)}/runs/{quote(run_id)}"

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/dags/{quote(dag)}/dagRuns/{quote(run_id)}/taskInstances?limit=200"
        return list(self.call("GET", path)["task_instances"])

    def log(self, dag: str, run_id: str, task: str, try_number: int, map_index: int = -1) -> list[str]:
        """Lines of one try's log."""
        path = (
            f"/dags/{quote(dag)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task)}/logs/{try_number}"
            f"?full_content=true&map_index={map_index}"
        )
        content = self.call("GET", path).get("content") or []
        if isinstance(content, str):
            return content.splitlines()
        return [str(item.get("event", item)) if isinstance(item, dict) else str(item) for item in content]

    def wait(self, dag: str, run_id: str, timeout_s: float, on_change: Callable[[dict[str, str]], None]) -> str:
        """Wait until the run is over and return its state; ``on_change`` gets every task's state when one moves."""
        deadline = time.monotonic() + timeout_s
        seen: dict[str, str] = {}
        while True:
            state = self.run(dag, run_id)["state"]
            now = {task["task_id"]: task["state"] or "waiting" for task in self.tasks(dag, run_id)}
            if now != seen:
                on_change(now)
                seen = now
            if state in _FINISHED:
                return str(state)
            if time.monotonic() > deadline:
                raise DependencyUnavailableError(
                    f"Waiting for {dag} {run_id}",
                    found=f"state {state} after {timeout_s:.0f} s, tasks {now}",
                    required="a finished run",
                    next_step=f"Look at it: {self.run_url(dag, run_id)}",
                    changed="The run goes on.",
                )
            time.sleep(1)


def _request(method: str, url: str, headers: dict[str, str], body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - JSON
    data = json.dumps(body).encode() if body is not None else None
    known = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, method=method, data=data, headers=known)  # noqa: S310 - loopback
    try:
        with _OPENER.open(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:600]
        kind = ConfigurationError if error.code < 500 else ServerFailedError
        raise kind(
            f"Asking Airflow: {method} {url}",
            found=f"status {error.code}: {said}",
            required="its consent",
            next_step="Correct the DAG, the run or the parameters; bin/millrace runs DAG lists runs."
            if error.code < 500
            else "Read: bin/millrace logs airflow-api-server",
        ) from error
    except OSError as error:
        raise DependencyUnavailableError(
            f"Asking Airflow: {method} {url}",
            found=str(getattr(error, "reason", error)),
            required="a running stack",
            next_step="Run: bin/millrace up",
        ) from error
