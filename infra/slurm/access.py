"""How others reach a lab: the Airflow connection ``hpc`` and the configuration of OpenSSH."""

import json
from pathlib import Path

from infra.slurm.places import LabPlaces
from infra.slurm.render import host_key

CONNECTION = "AIRFLOW_CONN_HPC"


def airflow_connection(places: LabPlaces) -> str:
    """The value of ``AIRFLOW_CONN_HPC``: JSON with the host key pinned; the private key stays in its file."""
    connection = {
        "conn_type": "ssh",
        "host": places.reached_by,
        "port": places.ports.slurm_ssh,
        "login": places.user,
        "extra": {
            "key_file": str(places.keys / "id_platform"),
            "host_key": host_key(places),
            "look_for_keys": False,
            "no_host_key_check": False,
        },
    }
    return json.dumps(connection)


def ssh_config(places: LabPlaces) -> Path:
    """``ssh -F <this file> hpc``; ``-fNM`` opens a connection that later calls share."""
    return places.etc / "ssh_config"
