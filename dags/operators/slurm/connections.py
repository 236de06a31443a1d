"""From an Airflow connection to a cluster."""

from typing import Any

from airflow.sdk import Connection

from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.settings import ClusterSettings, cluster_settings
from dags.operators.slurm.spec import QueueName
from dags.operators.slurm.transports import Transport
from dags.operators.slurm.transports.local import LocalTransport
from dags.operators.slurm.transports.openssh import OpenSSHTransport


def settings_of(conn_id: str) -> ClusterSettings:
    """In a worker; a missing connection raises Airflow's own error."""
    connection = Connection.get(conn_id)
    return _settings(conn_id, connection, connection.extra_dejson)


async def settings_in_triggerer(conn_id: str) -> ClusterSettings:
    connection = await Connection.async_get(conn_id)
    return _settings(conn_id, connection, await connection.aextra_dejson())


def open_cluster(settings: ClusterSettings, queue: QueueName) -> Cluster:
    """Connects when it is first asked something."""
    return Cluster(_transport(settings), queue)


def _settings(conn_id: str, connection: Any, extra: dict[str, Any]) -> ClusterSettings:  # noqa: ANN401 - two classes of Airflow's
    return cluster_settings(
        conn_id, connection.host, connection.port, connection.login, connection.password, extra
    )  # fmt: skip


def _transport(settings: ClusterSettings) -> Transport:
    if settings.transport == "local":
        return LocalTransport()
    if settings.transport == "openssh":
        return OpenSSHTransport(
            host=settings.host, port=settings.port, user=settings.user, control_path=settings.control_path,
            proxy_jump=settings.proxy_jump, config_file=settings.ssh_config, known_hosts=settings.known_hosts,
            key_file=settings.key_file, copy=settings.copy_by,
        )  # fmt: skip
    # A library of cryptography: only who connects by it waits for its import, and no parsing of a DAG does.
    from dags.operators.slurm.transports.asyncssh_ import AsyncSSHTransport

    return AsyncSSHTransport(
        host=settings.host, port=settings.port or 22, user=settings.user, host_key=settings.host_key,
        known_hosts=settings.known_hosts, key_file=settings.key_file,
        key_text=settings.private_key.get_secret_value(), password=settings.password.get_secret_value(),
        jump=settings.proxy_jump,
    )  # fmt: skip
