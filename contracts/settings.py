"""Where things are: one typed, frozen object, read once in ``__main__`` from ``MILLRACE_*`` and passed down."""

import json
import os
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from contracts.errors import ConfigurationError
from contracts.kafka import Login

REPOSITORY = Path(__file__).resolve().parent.parent


class Ports(BaseModel):
    """Loopback ports of the local stack, each an offset from one base so that two stacks can live side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: int = Field(default=18000, ge=1024, le=65000)

    @property
    def kafka(self) -> int:
        return self.base + 92

    @property
    def kafka_controller(self) -> int:
        return self.base + 93

    @property
    def spark_master(self) -> int:
        return self.base + 77

    @property
    def spark_master_ui(self) -> int:
        return self.base + 81

    @property
    def spark_worker_ui(self) -> tuple[int, int]:
        return self.base + 82, self.base + 83

    @property
    def airflow(self) -> int:
        return self.base + 80

    @property
    def mlflow(self) -> int:
        return self.base + 50

    @property
    def page(self) -> int:
        return self.base + 10

    @property
    def stream_metrics(self) -> int:
        return self.base + 20

    @property
    def slurm_controller(self) -> int:
        return self.base + 60

    @property
    def slurm_nodes(self) -> tuple[int, int]:
        return self.base + 61, self.base + 62

    @property
    def slurm_ssh(self) -> int:
        return self.base + 63

    @property
    def slurm_accounting(self) -> int:
        return self.base + 64


class StreamSettings(BaseModel):
    """How the streaming application paces itself and how long each layer keeps rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str = "web.access-log"
    topic_partitions: int = Field(default=2, ge=1, le=64)
    max_offsets_per_trigger: int = Field(default=400_000, gt=0)
    read_tasks: int = Field(default=2, ge=1, le=256)
    trigger_s: float = Field(default=3.0, gt=0)
    gold_trigger_s: float = Field(default=10.0, gt=0)
    sessions_trigger_s: float = Field(default=60.0, gt=0)
    #: Compact a table of the stream when one day of it has more files than this.
    compact_after_files: int = Field(default=48, gt=1)
    #: Days of arrival that a layer keeps; None keeps all. Gold has none of its own: it is always a function of silver.
    bronze_retention_days: int | None = Field(default=None, gt=0)
    silver_retention_days: int | None = Field(default=None, gt=0)
    quarantine_retention_days: int | None = Field(default=None, gt=0)
    #: When set, the client host is replaced by a keyed hash before anything is stored.
    pseudonym_key: SecretStr | None = Field(default=None, min_length=16)
    #: The address that the driver's status page listens on, and where other processes find it when not on loopback.
    listen: str = "127.0.0.1"
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+$")


class Settings(BaseSettings):
    """``MILLRACE_STATE=/data/millrace MILLRACE_STREAM__TRIGGER_S=5`` and so on; ``__`` steps into a group.

    ``state`` holds everything a running stack writes, ``toolchain`` the environments and archives that set-up installs.
    """

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", env_nested_delimiter="__", frozen=True, extra="ignore")

    toolchain: Path = REPOSITORY / ".millrace"
    state: Path = REPOSITORY / ".millrace" / "var"
    ports: Ports = Ports()
    stream: StreamSettings = StreamSettings()
    #: Set to use a broker, a master, a tracking server or a database other than the local stack's.
    kafka_bootstrap: str | None = Field(default=None, pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")
    spark_master: str | None = Field(default=None, pattern=r"^spark://[^\s,]+:\d+(,[^\s,]+:\d+)*$")
    mlflow_uri: str | None = None
    ops_url: str | None = Field(default=None, pattern=r"^\w+(\+\w+)?://")
    #: Who this process is to a broker that asks (SASL/SCRAM): both or neither.
    kafka_user: str | None = Field(default=None, min_length=1)
    kafka_password_file: Path | None = Field(default=None, validate_default=True)
    #: The name that executors reach a driver of this machine by.
    driver_host: str = Field(default="127.0.0.1", min_length=1)
    alert_webhook: str | None = None
    #: Options of the local stack's Airflow by section: ``MILLRACE_AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=postgresql+psycopg2://…``.
    airflow: dict[str, dict[str, str]] = {}

    @field_validator("airflow", mode="before")
    @classmethod
    def _has_sections(cls, options: object) -> object:
        """Options as Airflow reads them from its environment; numbers and truth values arrive as such."""
        if not isinstance(options, dict):
            return options
        if bare := [name for name, found in options.items() if not isinstance(found, dict)]:
            raise ValueError(f"an option, too: MILLRACE_AIRFLOW__{bare[0].upper()}__OPTION=value")
        return {
            section: {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
            for section, found in options.items()
        }

    @field_validator("state", "toolchain", mode="before")
    @classmethod
    def _is_named(cls, path: object) -> object:
        # An empty path is the current folder: secrets and tables would be written into whatever that is.
        if path == "":
            raise ValueError("a path; unset the variable for the default")
        try:
            is_file = isinstance(path, str | Path) and Path(path).exists() and not Path(path).is_dir()
        except OSError as error:
            raise ValueError(f"a path that can be used ({error.strerror})") from error
        if is_file:
            raise ValueError("a folder, or a path where one can be made; this is a file")
        return path

    @field_validator("kafka_password_file")
    @classmethod
    def _is_a_whole_login(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if (path is None) != (info.data.get("kafka_user") is None):
            raise ValueError("a file where MILLRACE_KAFKA_USER names somebody, and none where it does not")
        return path

    @property
    def lake(self) -> Path:
        """Root of the Delta tables: ``lake/<layer>/<subject>``."""
        return self.state / "lake"

    @property
    def snapshots(self) -> Path:
        """Root of the immutable training snapshots: ``snapshots/<dataset>/<hash>``."""
        return self.state / "snapshots"

    @property
    def checkpoints(self) -> Path:
        """Root of the checkpoint locations of streaming queries: ``checkpoints/<query name>``."""
        return self.state / "checkpoints"

    @property
    def runs(self) -> Path:
        """Root of the run folders: ``runs/<dag>/<run>/...``."""
        return self.state / "runs"

    @property
    def data_docs(self) -> Path:
        """The site of validation reports: ``data_docs/index.html``."""
        return self.state / "data_docs"

    @property
    def drift_reports(self) -> Path:
        """Root of the pages about drift: ``drift/<pipeline>/<run>.html``."""
        return self.state / "drift"

    @property
    def locks(self) -> Path:
        """Root of the lock files that writers hold."""
        return self.state / "locks"

    @property
    def kafka(self) -> str:
        return self.kafka_bootstrap or f"127.0.0.1:{self.ports.kafka}"

    @property
    def kafka_login(self) -> Login | None:
        if self.kafka_user is None or self.kafka_password_file is None:
            return None
        return Login(self.kafka_user, self.kafka_password_file)

    @property
    def stream_status(self) -> str:
        """Where the streaming driver says how it is."""
        return f"{self.stream.url or f'http://127.0.0.1:{self.ports.stream_metrics}'}/status"

    @property
    def master(self) -> str:
        return self.spark_master or f"spark://127.0.0.1:{self.ports.spark_master}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"http://127.0.0.1:{self.ports.mlflow}"

    @property
    def ops_database(self) -> str:
        """SQLAlchemy URL of the operational records (verdicts, promotions, stream registry, source marks)."""
        return self.ops_url or f"sqlite:///{self.state / 'ops.db'}"


def load_settings() -> Settings:
    """Read the environment; a wrong name or value is a ConfigurationError that says which and what is allowed."""
    _check_names()
    try:
        return Settings()
    except SettingsError as error:
        # "error parsing value for field "ports" from source "EnvSettingsSource"": a group given as a plain value.
        group = next((name for name in ("ports", "stream", "airflow") if f'"{name}"' in str(error)), "").upper()
        raise ConfigurationError(
            f"Reading settings, MILLRACE_{group}",
            found="a value for a whole group of settings",
            required=f"its members one by one: MILLRACE_{group}__NAME=value",
            next_step=f"Unset MILLRACE_{group} and start again; contracts/settings.py lists the names.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        variable = "MILLRACE_" + "__".join(str(part) for part in first["loc"]).upper()
        is_secret = variable.endswith(("_KEY", "_URL", "_WEBHOOK", "_AIRFLOW"))
        raise ConfigurationError(
            f"Reading settings, {variable}",
            found="a value that is not shown" if is_secret else repr(first.get("input")),
            required=first["msg"],
            next_step=f"Correct {variable} in the environment and start again.",
        ) from error


#: Variables of ours that are no settings: what set-up, the supervisor and a Slurm job's script tell their children, and
#: tests.
_NOT_SETTINGS = (
    "MILLRACE_DRIVER_PYTHON", "MILLRACE_INPUTS", "MILLRACE_IVY_SETTINGS", "MILLRACE_OUTPUTS", "MILLRACE_SCREENSHOTS",
    "MILLRACE_SUPERVISED",
)  # fmt: skip


def _check_names() -> None:
    """A misspelt name would silently leave the default in place."""
    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(os.environ):
        is_ours = name.startswith("MILLRACE_") and name not in _NOT_SETTINGS
        field = name.removeprefix("MILLRACE_").split("__")[0]
        if is_ours and field not in known:
            near = get_close_matches(field, known, n=1)
            meant = f"Did you mean MILLRACE_{near[0]}? Correct the name or unset it." if near else f"Unset {name}."
            raise ConfigurationError(
                f"Reading settings, {name}", found="a variable that no setting has",
                required=f"one of {', '.join(f'MILLRACE_{each}' for each in known)}",
                next_step=meant,
            )  # fmt: skip
