"""The MLflow tracking server in a container; its database's address comes from a secret, not as an argument."""

import os
from pathlib import Path

DATABASE = Path("/run/secrets/mlflow_database")
PORT = "5000"


def main() -> None:
    """Become the server."""
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": DATABASE.read_text(encoding="utf-8").strip(),
        # Its job runner starts six more processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # Browsers of this machine and containers reach it by these names; a web site must not by one of its own.
    names = "localhost:*,127.0.0.1:*,mlflow:*"
    command = [
        "mlflow", "server", "--host", "0.0.0.0", "--port", PORT, "--workers", "1", "--allowed-hosts", names,  # noqa: S104 - published on loopback
        "--artifacts-destination", "file:///var/lib/mlflow/artifacts",
    ]  # fmt: skip
    os.execvp(command[0], command)  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
