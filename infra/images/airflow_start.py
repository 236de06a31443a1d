"""Airflow's start in containers: its tables, the administrator and the pool of Spark applications; safe to repeat.

Runs once at every start. A changed password file becomes the administrator's new password.
"""

import logging
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)

PASSWORD = Path("/run/secrets/airflow_admin_password")
USER, ROLE = "admin", "Admin"
#: As in the local stack: slots for two applications beside the stream.
POOL, SLOTS = "spark_small", "2"


def main() -> int:
    subprocess.run(["airflow", "db", "migrate"], check=True)
    administrator(PASSWORD.read_text(encoding="utf-8").strip())
    about = "Spark applications at the same time on the cluster"
    subprocess.run(["airflow", "pools", "set", POOL, SLOTS, about], check=True)
    return 0


def administrator(password: str) -> None:
    """Make the user, or give it this password. Not by Airflow's command line, which wants it as an argument."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        known = manager.find_user(USER)
        if known is None:
            made = manager.add_user(USER, USER, USER, f"{USER}@localhost", manager.find_role(ROLE), password)
            if not made:
                sys.exit("Airflow refused to make the administrator; its log above says why")
        else:
            manager.reset_password(known.id, password)
        log.info("user=%s role=%s %s", USER, ROLE, "password renewed" if known else "made")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.exit(main())
