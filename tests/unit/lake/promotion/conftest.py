"""One ledger and one registry for a module, and the command that people type."""

import pytest

from contracts.settings import Settings
from spark_apps.commands import registry as command


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Settings:
    """One MLflow database for the module: making one takes seconds. Every test has a pipeline of its own."""
    folder = tmp_path_factory.mktemp("ledger")
    return Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def typed(shared, monkeypatch, capsys):
    """Type `millrace registry ...`: its exit code and what it said."""

    def run(*words: str, **environment: str) -> tuple[int, str]:
        chosen = {"MILLRACE_STATE": str(shared.state), "MILLRACE_MLFLOW_URI": shared.tracking_uri, **environment}
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        code = command.main(words)
        return code, "".join(capsys.readouterr())

    return run
