"""The secrets of the containers, one file each, made where they are missing: ``python3 -m infra.images.secret_files``.

Standard library only. The folder is for this user alone; the files in it can be read by everybody, because Compose
mounts them as they are into containers whose users have other numbers.
"""

import base64
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".millrace" / "containers" / "secrets"

_PASSWORDS = (
    "airflow_admin_password", "airflow_api_secret", "airflow_database_password", "airflow_jwt_secret",
    "kafka_admin_password", "kafka_replayer_password", "kafka_stream_password", "mlflow_database_password",
    "notebook_token", "spark_secret",
)  # fmt: skip


def ensure(folder: Path) -> list[str]:
    """Make what is missing; returns the names of what was made. Databases' addresses follow their passwords."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    # 64 random bytes: JWTs are signed with HS512.
    makers: dict[str, Callable[[], str]] = {name: lambda: secrets.token_urlsafe(64) for name in _PASSWORDS}
    makers["airflow_admin_password"] = lambda: secrets.token_urlsafe(18)
    makers["airflow_fernet_key"] = lambda: base64.urlsafe_b64encode(os.urandom(32)).decode()
    for name, make in makers.items():
        if not (folder / name).exists():
            _write(folder / name, make())
            made.append(name)
    for name in ("airflow", "mlflow"):
        password = (folder / f"{name}_database_password").read_text(encoding="utf-8").strip()
        address = f"postgresql+psycopg2://{name}:{password}@postgres/{name}"
        path = folder / f"{name}_database"
        if not path.exists() or path.read_text(encoding="utf-8") != address:
            _write(path, address)
            made.append(path.name)
    return made


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o444)
    os.replace(new, path)


if __name__ == "__main__":
    for each in ensure(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(f"made {each}")
