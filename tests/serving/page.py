"""The page inside the test's own process: a client of it, and its answers as JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from contracts.settings import Ports, Settings
from serving import api
from serving.app import create_app
from tests.serving.server import free_port

Json = dict[str, Any]
Get = Callable[..., Json]


def client_of(lake: Path, **options: Any) -> TestClient:
    # Ports of its own: a stack may be running on this machine, and its stream would answer.
    settings = Settings(state=lake.parent, ports=Ports(base=free_port() - 20))
    assert settings.lake == lake
    return TestClient(create_app(api.Page(settings)), base_url="http://127.0.0.1", **options)


def getter(client: TestClient) -> Get:
    def get(path: str, status: int = 200, **query: object) -> Json:
        answer = client.get(path, params={name.rstrip("_"): str(value) for name, value in query.items()})
        assert answer.status_code == status, answer.text
        found: Json = answer.json()
        return found

    return get
