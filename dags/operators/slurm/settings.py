"""How one cluster is reached and what is known of it: the fields of an Airflow connection, validated."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from dags.operators.slurm.errors import SpecError
from dags.operators.slurm.spec import PATH_PATTERN, environment

Path = Annotated[str, Field(pattern=f"^{PATH_PATTERN}$")]


class ClusterSettings(BaseModel):
    """One cluster. ``transport``: ``asyncssh``, ``openssh`` (through a connection that a person opens) or ``local``.

    ``defaults`` are sbatch fields for all tasks there (account, partition ...). Fields of Airflow's own SSH provider
    that mean nothing here are left out by `cluster_settings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = ""
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str = ""
    password: SecretStr = SecretStr("")
    transport: Literal["asyncssh", "openssh", "local"] = "asyncssh"
    host_key: str = ""
    known_hosts: str = ""
    key_file: str = ""
    private_key: SecretStr = SecretStr("")
    proxy_jump: str = ""
    control_path: str = ""
    ssh_config: str = ""
    copy_by: Literal["sftp", "rsync"] = "sftp"
    site: str = "plain"
    base_dir: Path = ""
    namespace: str = Field(default="millrace", pattern=r"^[A-Za-z0-9_-]{1,30}$")
    venv: Path = ""
    jars: Path = ""
    java_home: Path = ""
    env: Annotated[dict[str, str], AfterValidator(environment)] = {}
    defaults: dict[str, Any] = {}

    @model_validator(mode="after")
    def _can_be_reached_safely(self) -> Self:
        if self.transport == "asyncssh" and not (self.host_key or self.known_hosts):
            raise ValueError("host_key or known_hosts is required: a host that nobody vouches for gets nothing")
        if self.transport == "asyncssh" and self.proxy_jump and not self.known_hosts:
            raise ValueError("proxy_jump needs known_hosts, a file with the keys of both hosts")
        if self.transport == "openssh" and self.password.get_secret_value():
            raise ValueError("transport openssh never sends a password: a person opens the connection")
        if self.transport != "local" and not self.host:
            raise ValueError("host is required")
        return self


#: Fields of Airflow's SSH provider. Our checks of host keys cannot be switched off.
_FOREIGN = frozenset(
    {
        "look_for_keys", "no_host_key_check", "allow_host_key_change", "timeout", "conn_timeout", "cmd_timeout",
        "keepalive_interval", "compress", "banner_timeout", "auth_timeout", "disabled_algorithms", "ciphers",
        "host_proxy_cmd", "private_key_passphrase",
    }
)  # fmt: skip


def cluster_settings(
    conn_id: str, host: str | None, port: int | None, login: str | None, password: str | None, extra: dict[str, Any]
) -> ClusterSettings:
    """From a connection; a SpecError names the field that is wrong."""
    fields = {name: value for name, value in extra.items() if name not in _FOREIGN}
    if extra.get("no_host_key_check") in (True, "true", "True"):
        raise SpecError(
            f"Reading the connection {conn_id}", found="no_host_key_check=true", required="host keys that are checked",
            next_step="Remove it and set host_key.",
        )  # fmt: skip
    try:
        return ClusterSettings(
            host=host or "", port=port, user=login or "", password=SecretStr(password or ""), **fields
        )
    except (ValidationError, TypeError) as error:
        # Pydantic would repeat the values, and one of them may be a key.
        found = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'connection'}: {each['msg']}" for each in error.errors()
        ) if isinstance(error, ValidationError) else str(error)  # fmt: skip
        raise SpecError(
            f"Reading the connection {conn_id}", found=found, required="the fields of dags/operators/slurm/settings.py",
            next_step="Correct the connection.",
        ) from None  # fmt: skip
