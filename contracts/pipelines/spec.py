"""One workload: which rows, which features, which models, and when one is good enough."""

import json
from hashlib import sha256
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.pipelines import checks
from contracts.pipelines.algorithms import Algorithm, Task
from contracts.pipelines.drift import PREDICTION, DriftPolicy
from contracts.pipelines.features import Features, GenreTastes, MinuteSeries, RegularSeries
from contracts.pipelines.parts import SPEC, Calibration, Gate, Imbalance, Schedule, Search, Split
from contracts.profiles import ProfileName

#: Predictor that every result table holds in row one and that needs no column: the mean of the training label, which
#: for classes 0 and 1 is the share of 1; the same list for everybody.
_CONSTANT = {"regression": "mean", "classification": "prior", "recommendation": "popularity"}


class PipelineSpec(BaseModel):
    """One workload: which rows, which features, which models, and when one is good enough."""

    model_config = SPEC

    #: That of the file: the DAG is ``retrain_<name>``, the registered model ``<name>``.
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    #: What is predicted, in a sentence: it stands on the DAG's page and on the model card.
    about: str
    task: Task
    #: Table that features are made of (``contracts/datasets.py``).
    dataset: str
    #: Table that the champion's forecasts go into; none where nothing is forecast.
    forecast: str | None = None
    #: Identifies a row of the snapshot; rows are sorted by it.
    key: tuple[str, ...] = Field(min_length=1)
    #: Instant that the split and the forecast follow; none where rows have no order.
    ordered_by: str | None = None
    #: What is predicted: a number, or 0 and 1; empty where rows are only grouped.
    label: str = ""
    features: Features
    #: Predictor name to the feature column that is its prediction.
    baselines: dict[str, str] = {}
    #: Which rows models are judged on that they were not fitted on.
    split: Split
    #: The best of them on folds of the training part becomes the candidate; all of them are rated on the holdout.
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    #: Required where there is anything to choose.
    search: Search | None = None
    imbalance: Imbalance | None = None
    calibration: Calibration | None = None
    #: Columns of the snapshot by whose values the candidate is measured too, each with few values.
    subgroups: tuple[str, ...] = ()
    #: Of whatever is drawn at random.
    seed: int = Field(ge=0, lt=2**31)
    #: Spark partitions that training rows are sorted into; stored with the model, so that a repeat agrees to 1e-9.
    fit_partitions: int = Field(ge=1, le=256)
    gate: Gate
    #: What ``train`` may use (``contracts/profiles.py``); everything else runs as ``small``.
    compute_profile: ProfileName
    schedule: Schedule
    #: How its champion is watched; without one nobody looks whether the rows still are what it knows.
    drift: DriftPolicy | None = None
    #: Who lets a candidate that passed the gate replace the champion: nobody, or a person whom ``promote_<name>`` asks.
    promotion: Literal["automatic", "ask"] = "automatic"

    @field_validator("dataset", "forecast")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        try:
            return name and dataset(name).name
        except ConfigurationError as error:
            raise ValueError(error.required) from error

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        field, complaint = checks.complaint(self)
        if complaint:
            raise ValueError(f"{field}| {complaint}")
        return self

    @property
    def has_rolling_folds(self) -> bool:
        """Whether rows have one order, or one in each group of a series, that folds follow."""
        return self.ordered_by is not None and self.split.kind not in ("files", "user_time")

    @property
    def constant(self) -> str:
        """Name of the baseline that every table begins with; groups have none but the spec's own."""
        return _CONSTANT.get(self.task, "")

    @property
    def baseline_names(self) -> list[str]:
        """The constant first, then the spec's own in its order; of a series also what its calendar says."""
        if self.task == "recommendation":
            return [self.constant, "biases"]
        if self.task == "clustering":
            return list(self.baselines)
        if isinstance(self.features, RegularSeries):
            return [self.constant, "group_mean", "profile", *self.baselines, "persistence_plus_profile_change"]
        return [self.constant, *self.baselines]

    @property
    def snapshot_name(self) -> str:
        """Dataset name under which feature snapshots are stored and judged."""
        return f"features.{self.name}"

    @property
    def beside(self) -> str | None:
        """Landed table that features are made of besides ``dataset``; None where that is enough."""
        return self.features.items if isinstance(self.features, GenreTastes) else None

    @property
    def watched_columns(self) -> list[str]:
        """What a drift policy may compare: features, the label, and the prediction where a row gets one by itself."""
        if self.task == "recommendation":
            # Features are identities of users and items; how they are spread is no property of a rating.
            return [self.label]
        is_series = isinstance(self.features, MinuteSeries | RegularSeries)
        # The calendar of one stretch of a series is always another one's.
        features = self.features.counts if is_series else self.features.columns
        return [*features, *([self.label] if self.label else []), PREDICTION]

    @property
    def is_daily(self) -> bool:
        """Whether the dataset grows by the day of arrival; a table of landed files is taken whole."""
        return "arrived_on" in dataset(self.dataset).column_names

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the spec as canonical JSON, defaults included; comments and order do not count.

        Without drift policy and promotion, which change neither what a model is made of nor how good it must be.
        """
        said = self.model_dump(mode="json", exclude={"drift", "promotion"})
        return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
