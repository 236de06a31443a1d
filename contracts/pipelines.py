"""What to train: one typed, frozen spec per ``pipelines/<name>.yaml``, checked before anything starts.

A workload of another kind adds a class beside ``MinuteSeries``, ``TimeSplit`` or ``PoissonGlm`` and joins it to the
field's type; nothing that reads an existing spec changes.
"""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.profiles import ProfileName

PIPELINES = Path(__file__).resolve().parent.parent / "pipelines"
#: Predictor that every result table holds in row one; it needs no column.
MEAN = "mean"

_SPEC = ConfigDict(frozen=True, extra="forbid")
_CRON_FIELD = re.compile(r"^(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*$")
_CRON_LIMITS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))


class MinuteSeries(BaseModel):
    """Features of one minute from the minutes before it. All numbers of minutes count back from that minute."""

    model_config = _SPEC

    kind: Literal["minute_series"]
    lags_min: tuple[int, ...] = Field(min_length=1)
    rolling_means_min: tuple[int, ...] = ()
    calendar: tuple[Literal["hour", "weekday"], ...] = ()
    #: A calendar feature enters the model when the training part covers its cycle (day, week) this many times:
    #: within one cycle it cannot be told from a trend.
    calendar_min_cycles: int = Field(default=2, ge=1)
    #: A longer silence ends a fragment: what follows is missing, not zero.
    max_silence_min: int = Field(ge=1, le=1440)
    #: The first (last) minute of a fragment counts as seen whole when a request lies this close to its start (end).
    edge_tolerance_s: int = Field(ge=0, le=59)

    @field_validator("lags_min", "rolling_means_min")
    @classmethod
    def _looks_back(cls, minutes: tuple[int, ...]) -> tuple[int, ...]:
        if any(m < 1 for m in minutes):
            raise ValueError("minutes count back from the forecast minute, so each must be 1 or more")
        if len(set(minutes)) != len(minutes):
            raise ValueError("each number of minutes may appear once")
        return minutes

    @property
    def lags(self) -> dict[str, int]:
        """Column name to minutes back, e.g. ``{"lag_1": 1}``."""
        return {f"lag_{minutes}": minutes for minutes in self.lags_min}

    @property
    def rolling_means(self) -> dict[str, int]:
        """Column name to length in minutes, e.g. ``{"mean_5": 5}``."""
        return {f"mean_{minutes}": minutes for minutes in self.rolling_means_min}

    @property
    def columns(self) -> list[str]:
        """Every feature column of the snapshot, in its order."""
        hour = ["hour_sin", "hour_cos"] if "hour" in self.calendar else []
        weekday = ["weekday"] if "weekday" in self.calendar else []
        return [*self.lags, *self.rolling_means, *hour, *weekday]


class TimeSplit(BaseModel):
    """The holdout is the newest part. Fewer rows than the minimum end a training as ``not_enough_data``."""

    model_config = _SPEC

    kind: Literal["time"]
    holdout_fraction: float = Field(gt=0.0, lt=1.0)
    min_train_rows: int = Field(ge=2)
    min_holdout_rows: int = Field(ge=2)


class PoissonGlm(BaseModel):
    """Generalized linear model, Poisson with log link, on log1p of counts and standardized columns."""

    model_config = _SPEC

    name: Literal["poisson_glm"]
    reg_param: float = Field(ge=0.0)
    max_iter: int = Field(ge=1)


class Gate(BaseModel):
    """When a candidate may become champion. Skill is ``1 - error / error of the baseline``."""

    model_config = _SPEC

    metric: Literal["mae", "rmse", "poisson_deviance"]
    #: The predictor that ``min_skill`` is measured against.
    baseline: str
    min_skill: float = Field(ge=0.0, lt=1.0)
    #: Errors that must be below those of every baseline, whatever ``metric`` says.
    must_beat_all_on: tuple[Literal["mae", "rmse", "poisson_deviance"], ...] = ()
    #: A champion is replaced only by a candidate whose error is smaller by at least this share.
    min_gain: float = Field(ge=0.0, lt=1.0)


class Schedule(BaseModel):
    """When to retrain and on which days: five-field cron in a named time zone, and when a run is called late."""

    model_config = _SPEC

    cron: str
    timezone: str = "UTC"
    deadline_min: int = Field(gt=0)
    #: Days of arrival that a training looks back on, its last day included.
    window_days: int = Field(default=28, ge=1, le=3660)
    #: No second training sooner after one that came to a decision, unless somebody forces it.
    cool_down_hours: float = Field(default=6, ge=0)

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str) -> str:
        fields = cron.split()
        if len(fields) != len(_CRON_LIMITS):
            raise ValueError("five fields are required: minute hour day-of-month month day-of-week")
        for field, (name, lowest, highest) in zip(fields, _CRON_LIMITS, strict=True):
            within = all(lowest <= int(n) <= highest for n in re.findall(r"(?<![\d/])\d+", field))
            if not _CRON_FIELD.match(field) or not within:
                raise ValueError(
                    f"{name} is {field!r}; allowed are *, numbers {lowest}-{highest}, ranges, lists, /steps"
                )
        return cron

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("an IANA time zone such as UTC or America/New_York is required") from error
        return timezone


class PipelineSpec(BaseModel):
    """One workload: which rows, which features, which model, and when it is good enough."""

    model_config = _SPEC

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str
    task: Literal["regression"]
    dataset: str
    forecast: str
    #: Identifies a row of the snapshot; rows are sorted by it.
    key: tuple[str, ...] = Field(min_length=1)
    #: Instant that the split and the forecast follow.
    ordered_by: str
    label: str
    features: MinuteSeries
    #: Predictor name to the feature column that is its prediction.
    baselines: dict[str, str]
    split: TimeSplit
    algorithm: PoissonGlm
    seed: int
    #: Spark partitions that training rows are sorted into; stored with the model, so that a repeat agrees to 1e-9.
    fit_partitions: int = Field(ge=1, le=256)
    gate: Gate
    compute_profile: ProfileName
    schedule: Schedule

    @field_validator("dataset", "forecast")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        try:
            dataset(name)
        except ConfigurationError as error:
            raise ValueError(error.required) from error
        return name

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        strangers = {name: column for name, column in self.baselines.items() if column not in self.features.columns}
        if strangers:
            raise ValueError(f"baselines {strangers} name no feature; features are {', '.join(self.features.columns)}")
        if MEAN in self.baselines:
            raise ValueError(f"baseline {MEAN} is the mean of the training label and has no column")
        if self.gate.baseline not in self.baseline_names:
            raise ValueError(f"gate.baseline {self.gate.baseline!r} must be one of {', '.join(self.baseline_names)}")
        return self

    @property
    def baseline_names(self) -> list[str]:
        """The mean first, then the spec's own in its order."""
        return [MEAN, *self.baselines]

    @property
    def snapshot_name(self) -> str:
        """Dataset name under which feature snapshots are stored and judged."""
        return f"features.{self.name}"

    @property
    def hash(self) -> str:
        """Hex SHA-256 of what the file says, as canonical JSON: comments, order and defaults do not count."""
        said = self.model_dump(mode="json", exclude_unset=True)
        return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def names(folder: Path = PIPELINES) -> list[str]:
    """Names of all pipelines, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, folder: Path = PIPELINES) -> PipelineSpec:
    """Read ``<folder>/<name>.yaml``; a ConfigurationError names file, field, value and what is allowed."""
    path = folder / f"{name}.yaml"
    if name not in names(folder):
        raise ConfigurationError(
            "Looking up a pipeline", found=repr(name),
            required="one of " + (", ".join(names(folder)) or "no pipeline yet"),
            next_step=f"Correct the name, or add {path.parent.name}/{path.name}.",
        )  # fmt: skip
    said = _yaml(path)
    try:
        spec = PipelineSpec.model_validate(said)
    except ValidationError as error:
        raise _complaint(path, error) from error
    if spec.name != name:
        raise _wrong(path, "name", spec.name, f"{name}, the name of the file")
    return spec


def load_all(folder: Path = PIPELINES) -> dict[str, PipelineSpec]:
    """Every pipeline by name."""
    return {name: load(name, folder) for name in names(folder)}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _wrong(path, "(file)", str(error), "YAML in UTF-8") from error
    if not isinstance(said, dict):
        raise _wrong(path, "(file)", type(said).__name__, "a mapping of field names to values")
    return said


def _complaint(path: Path, error: ValidationError) -> ConfigurationError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "(file)"
    found = first["input"]
    if first["type"] == "extra_forbidden":
        required = f"a known field: {', '.join(_fields_beside(first['loc']))}"
    elif first["type"] == "missing":
        found, required = "nothing", "a value"
    else:
        required = first["msg"].removeprefix("Value error, ")
    if field == "(file)":
        found = "fields that contradict each other"
    more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
    return _wrong(path, field, found, required + more)


def _fields_beside(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = PipelineSpec
    for part in loc[:-1]:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def _wrong(path: Path, field: str, found: object, required: str) -> ConfigurationError:
    shown = found if found == "nothing" else repr(found)
    return ConfigurationError(
        f"Reading {path.parent.name}/{path.name}, field {field}", found=str(shown), required=required,
        next_step=f"Correct {field} in {path.parent.name}/{path.name} and start again.",
    )  # fmt: skip
