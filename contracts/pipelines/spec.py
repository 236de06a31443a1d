"""One workload: which rows, which features, which models, and when one is good enough."""

import json
from hashlib import sha256
from typing import Self, get_args

from pydantic import BaseModel, Field, field_validator, model_validator

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.pipelines.algorithms import TASKS, Algorithm, Range, Task, hyperparameters, is_searched
from contracts.pipelines.features import Features, RegularSeries
from contracts.pipelines.parts import (
    SPEC,
    Calibration,
    FileSplit,
    Gate,
    GroupTimeSplit,
    Metric,
    ProbabilityMetric,
    RegressionMetric,
    Schedule,
    Search,
    Split,
    TimeSplit,
)
from contracts.profiles import ProfileName

#: Predictor that every result table holds in row one and that needs no column: the mean of the training label, which
#: for classes 0 and 1 is the share of 1.
CONSTANT = {"regression": "mean", "classification": "prior"}

_METRICS: dict[str, tuple[str, ...]] = {
    "regression": get_args(RegressionMetric),
    "classification": get_args(ProbabilityMetric),
}


class PipelineSpec(BaseModel):
    """One workload: which rows, which features, which models, and when one is good enough."""

    model_config = SPEC

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str
    task: Task
    dataset: str
    #: Table that the champion's forecasts go into; none where nothing is forecast.
    forecast: str | None = None
    #: Identifies a row of the snapshot; rows are sorted by it.
    key: tuple[str, ...] = Field(min_length=1)
    #: Instant that the split and the forecast follow; none where rows have no order.
    ordered_by: str | None = None
    #: What is predicted: a number, or 0 and 1.
    label: str
    features: Features
    #: Predictor name to the feature column that is its prediction.
    baselines: dict[str, str] = {}
    split: Split
    #: The best of them on folds of the training part becomes the candidate; all of them are rated on the holdout.
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    search: Search | None = None
    calibration: Calibration | None = None
    seed: int
    #: Spark partitions that training rows are sorted into; stored with the model, so that a repeat agrees to 1e-9.
    fit_partitions: int = Field(ge=1, le=256)
    gate: Gate
    compute_profile: ProfileName
    schedule: Schedule

    @field_validator("dataset", "forecast")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        try:
            return name and dataset(name).name
        except ConfigurationError as error:
            raise ValueError(error.required) from error

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for complaint in (self._baselines(), self._metrics(), self._algorithms(), self._order(), self._columns()):
            if complaint:
                raise ValueError(complaint)
        return self

    def _baselines(self) -> str:
        strangers = {name: column for name, column in self.baselines.items() if column not in self.features.columns}
        if strangers:
            return f"baselines {strangers} name no feature; features are {', '.join(self.features.columns)}"
        if isinstance(self.features, RegularSeries) and "persistence" not in self.baselines:
            return "baselines of a series need persistence: the column of the value one step before"
        if self.constant in self.baselines:
            return f"baseline {self.constant} is the mean of the training label and has no column"
        if self.gate.baseline not in self.baseline_names:
            return f"gate.baseline {self.gate.baseline!r} must be one of {', '.join(self.baseline_names)}"
        return ""

    def _metrics(self) -> str:
        said = [self.gate.metric, *self.gate.must_beat_all_on, *([self.search.metric] if self.search else [])]
        strangers = [metric for metric in said if metric not in self.metrics]
        known = ", ".join(self.metrics)
        return f"{self.task} is not measured by {', '.join(strangers)}; by {known}" if strangers else ""

    def _algorithms(self) -> str:
        able = [name for name, tasks in TASKS.items() if self.task in tasks]
        strangers = [algorithm.name for algorithm in self.algorithms if algorithm.name not in able]
        if strangers:
            return f"algorithms {', '.join(strangers)} cannot do {self.task}; these can: {', '.join(able)}"
        names = [algorithm.name for algorithm in self.algorithms]
        if len(set(names)) != len(names):
            return "each algorithm may stand in algorithms once; give its hyperparameters lists to choose from"
        if self.calibration and (self.task != "classification" or "linear_svc" in names):
            return "calibration needs probabilities: task classification, and no linear_svc, which has none"
        if self.search is None:
            chosen = len(names) > 1 or any(map(is_searched, self.algorithms))
            return "search is required where there is something to choose: how, by which metric" if chosen else ""
        return self._search(self.search)

    def _search(self, search: Search) -> str:
        values = [value for each in self.algorithms for value in hyperparameters(each).values()]
        if search.method == "grid":
            if any(isinstance(value, Range) for value in values):
                return "a grid cannot try a range of numbers: give a list, or search at random"
            return "a grid tries every combination: search.trials must go" if search.trials else ""
        return "" if search.trials else f"search.trials is required: how many fits a {search.method} search makes"

    def _order(self) -> str:
        if isinstance(self.split, TimeSplit | GroupTimeSplit) and self.ordered_by is None:
            return f"ordered_by is required: a {self.split.kind} split follows an instant"
        if isinstance(self.split, GroupTimeSplit) and not isinstance(self.features, RegularSeries):
            return "a group_time split needs features of kind regular_series, which name the group"
        if isinstance(self.split, FileSplit) and "source_file" not in dataset(self.dataset).column_names:
            return f"a files split needs a table of landed files, and {self.dataset} is none"
        return ""

    def _columns(self) -> str:
        if self.features.kind == "minute_series":
            return ""
        known = dataset(self.dataset).column_names
        asked = [*self.key, self.label]
        asked += [*self.features.categories, *self.features.numeric]
        strangers = [column for column in asked if column not in known]
        if strangers:
            return f"{self.dataset} has no column {', '.join(strangers)}; it has {', '.join(known)}"
        if self.label in self.features.columns:
            return f"the label {self.label} cannot be a feature"
        return ""

    @property
    def constant(self) -> str:
        """Name of the baseline that predicts the mean of the training label."""
        return CONSTANT[self.task]

    @property
    def baseline_names(self) -> list[str]:
        """The constant first, then the spec's own in its order; of a series also what its calendar says."""
        if isinstance(self.features, RegularSeries):
            return [self.constant, "group_mean", "profile", *self.baselines, "persistence_plus_profile_change"]
        return [self.constant, *self.baselines]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What a model of this task is measured by."""
        return _METRICS[self.task]  # type: ignore[return-value]

    @property
    def snapshot_name(self) -> str:
        """Dataset name under which feature snapshots are stored and judged."""
        return f"features.{self.name}"

    @property
    def is_daily(self) -> bool:
        """Whether the dataset grows by the day of arrival; a table of landed files is taken whole."""
        return "arrived_on" in dataset(self.dataset).column_names

    @property
    def hash(self) -> str:
        """Hex SHA-256 of what the file says, as canonical JSON: comments, order and defaults do not count."""
        said = self.model_dump(mode="json", exclude_unset=True)
        return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
