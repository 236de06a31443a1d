"""Secrets of one stack: made once, kept in files of mode 600 that git ignores, never in an argument list."""

import base64
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.files import read_json, write_atomically

AIRFLOW_USER = "admin"


@dataclass(frozen=True, repr=False)
class Credentials:
    """What the services of one stack share. ``airflow_passwords`` is a file, because Airflow wants one."""

    airflow_password: str
    jwt_secret: str
    api_secret_key: str
    fernet_key: str
    spark_secret: str
    airflow_passwords: Path


def load(state: Path) -> Credentials:
    """Read the secrets of the stack in ``state``; those that do not exist yet are made. Other users can read none."""
    folder = state / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / "secrets.json"
    known: dict[str, str] = read_json(path, "the secrets of this stack") if path.exists() else {}
    makers: dict[str, Callable[[], str]] = {
        "airflow_password": lambda: secrets.token_urlsafe(18),
        "jwt_secret": lambda: secrets.token_urlsafe(64),
        "api_secret_key": lambda: secrets.token_urlsafe(48),
        "fernet_key": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "spark_secret": lambda: secrets.token_urlsafe(32),
    }
    complete = {name: known.get(name) or make() for name, make in makers.items()}
    if complete != known:
        write_atomically(path, json.dumps(complete, indent=2))
    passwords = folder / "airflow_passwords.json"
    wanted = json.dumps({AIRFLOW_USER: complete["airflow_password"]})
    if not passwords.exists() or passwords.read_text(encoding="utf-8") != wanted:
        write_atomically(passwords, wanted)
    for file in (path, passwords):
        file.chmod(0o600)
    return Credentials(**complete, airflow_passwords=passwords)
