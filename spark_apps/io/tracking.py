"""The connection to MLflow: what its client reads from the environment, and what is said where no server answers."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from contracts.errors import DependencyUnavailableError
from contracts.settings import Settings

# Read by MLflow whenever it sends a request. A server that hangs is given up after 10 s x 3, well within a minute.
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _CLIENT.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402 - after the environment it reads on import
import mlflow.spark  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException, RestException  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402

#: Whatever the project uses of MLflow comes from here, so that it is imported after its environment is set.
__all__ = ["MlflowClient", "MlflowException", "connected", "infer_signature", "mlflow", "require_answer"]

for _chatty in ("mlflow", "alembic"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)
# It misses pip, which an environment made by uv does not have.
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)

#: Of a server that went away while it was asked; every step finishes or repeats what an earlier try of it began.
_HALF_DONE = "What had begun is finished when the same is run again."


@contextmanager
def connected(settings: Settings) -> Iterator[MlflowClient]:
    """MLflow of ``settings`` for the block; a server that does not answer is a DependencyUnavailableError."""
    uri = settings.tracking_uri
    require_answer(settings)
    mlflow.set_tracking_uri(uri)
    try:
        yield MlflowClient(uri)
    except RestException as error:
        if error.get_http_status_code() >= 500:
            raise _unavailable(uri, str(error)) from error
        raise
    except (MlflowException, requests.RequestException) as error:
        _require_answer(uri)
        if isinstance(error, requests.RequestException):
            raise _unavailable(uri, str(error)) from error
        raise


def require_answer(settings: Settings) -> None:
    """DependencyUnavailableError unless the server of ``settings`` answers now."""
    _require_answer(settings.tracking_uri, changed="Nothing was changed.")


def _require_answer(uri: str, changed: str = _HALF_DONE) -> None:
    if not uri.startswith("http"):
        return
    try:
        requests.get(f"{uri}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise _unavailable(uri, str(error), changed) from error


def _unavailable(uri: str, found: str, changed: str = _HALF_DONE) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        "Talking to MLflow", found=found, required=f"an answer from {uri}",
        next_step="Look at bin/millrace status and bin/millrace logs mlflow, then try again.",
        changed=changed,
    )  # fmt: skip
