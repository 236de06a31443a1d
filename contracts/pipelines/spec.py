"""One workload: which rows, which features, which models, and when one is good enough."""

import json
from hashlib import sha256
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.pipelines.algorithms import TASKS, Algorithm, Range, Task, hyperparameters, is_searched
from contracts.pipelines.features import (
    Features,
    GenreTastes,
    MinuteSeries,
    Ratings,
    RegularSeries,
    TableColumns,
    Visitors,
)
from contracts.pipelines.parts import (
    METRICS,
    SPEC,
    Calibration,
    FileSplit,
    Gate,
    Imbalance,
    RandomSplit,
    Schedule,
    Search,
    Split,
)
from contracts.profiles import ProfileName

#: Predictor that every result table holds in row one and that needs no column: the mean of the training label, which
#: for classes 0 and 1 is the share of 1; the same list for everybody.
_CONSTANT = {"regression": "mean", "classification": "prior", "recommendation": "popularity"}
#: Names in the result table that a baseline cannot have.
_TAKEN = {"candidate", "group_mean", "profile", "persistence_plus_profile_change", "biases", *TASKS}
#: Tasks whose every row has a label to be compared with.
_BY_ROW = ("regression", "classification")
#: Algorithms that have probabilities and take weights.
_WEIGHED = {"logistic_regression", "random_forest", "gbt", "naive_bayes", "xgboost"}
_NUMBERS = ("double", "float", "int", "bigint")
_WHOLE = ("int", "bigint")
#: What says which line of which file a row was.
_LINE = ("source_sha256", "source_line")
#: What the features of an access log's minutes bring along.
_MINUTES = {"dataset": "silver.access_log", "key": ("minute_at",), "ordered_by": "minute_at", "label": "requests"}
#: What the features of its visitors bring along.
_HOSTS = {"dataset": "silver.access_log", "key": ("host",), "ordered_by": None, "label": ""}
#: Which task each kind of features is for, and how its rows may be split.
KINDS: dict[str, tuple[tuple[Task, ...], tuple[str, ...]]] = {
    "minute_series": (("regression",), ("time",)),
    "regular_series": (("regression",), ("group_time", "random")),
    "table": (("regression", "classification"), ("files", "random")),
    "visitors": (("clustering",), ("random",)),
    "genre_tastes": (("clustering",), ("random",)),
    "ratings": (("recommendation",), ("user_time",)),
}


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

    @field_validator("dataset", "forecast")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        try:
            return name and dataset(name).name
        except ConfigurationError as error:
            raise ValueError(error.required) from error

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        checks = (
            self._task,
            self._columns,
            self._baselines,
            self._metrics,
            self._algorithms,
            self._subgroups,
            self._probabilities,
            self._split,
            self._folds,
        )
        for field, complaint in (check() for check in checks):
            if complaint:
                raise ValueError(f"{field}| {complaint}")
        return self

    def _task(self) -> tuple[str, str]:
        tasks = KINDS[self.features.kind][0]
        if self.task not in tasks:
            return "task", f"features of kind {self.features.kind} are for task {' or '.join(tasks)}"
        select = getattr(self.features, "select", None)
        if select and select.by == "test" and self.task == "regression" and not self.features.numeric:
            return "features.select.by", "variance or importance: there is no test of categories against numbers"
        if self.forecast and not {self.ordered_by, "forecast"} <= set(dataset(self.forecast).column_names):
            return "forecast", f"a table with the columns {self.ordered_by or 'ordered_by'} and forecast"
        return "", ""

    def _columns(self) -> tuple[str, str]:
        if isinstance(self.features, MinuteSeries | Visitors):
            brought = _MINUTES if isinstance(self.features, MinuteSeries) else _HOSTS
            wrong = [name for name, value in brought.items() if getattr(self, name) != value]
            if not wrong:
                return "", ""
            return wrong[0], f"{brought[wrong[0]] or 'nothing'}, as features of kind {self.features.kind} have it"
        types = dataset(self.dataset).types
        labels = (self.label,) if self.label or self.task != "clustering" else ()
        for field, names in (("key", self.key), ("label", labels), ("features", self.features.given)):
            if strangers := [name for name in names if name not in types]:
                said = ", ".join(strangers) or "''"
                return field, f"{self.dataset} has no column {said}; it has {', '.join(types)}"
        numbers = [*labels, *(name for name in self.features.numeric if name in types)]
        if texts := [name for name in numbers if types[name] not in _NUMBERS]:
            return "features", f"{', '.join(texts)} must be numbers; categories may be texts, the label 0 and 1"
        if self.label in self.features.columns:
            return "label", f"the label {self.label} cannot be a feature"
        return self._place()

    def _place(self) -> tuple[str, str]:
        features = self.features
        if isinstance(features, RegularSeries):
            place = (features.group, features.at)
            if self.key != place or self.ordered_by != features.at:
                return "key", f"[{', '.join(place)}], and ordered_by {features.at}: one row a group and step"
        if isinstance(features, TableColumns):
            return self._place_of_table()
        if isinstance(features, Ratings):
            return self._place_of_ratings(features)
        return self._place_of_tastes(features) if isinstance(features, GenreTastes) else ("", "")

    def _place_of_table(self) -> tuple[str, str]:
        types = dataset(self.dataset).types
        if self.ordered_by is None or (self.ordered_by in self.key and types[self.ordered_by] == "timestamp"):
            return "", ""
        return "ordered_by", "nothing, or a timestamp of the key: a table without one has no order"

    def _place_of_ratings(self, features: Ratings) -> tuple[str, str]:
        place = (features.user, features.item)
        if self.key != place:
            return "key", f"[{', '.join(place)}]: a user rates an item once"
        types = dataset(self.dataset).types
        if fractions := [name for name in features.given if types[name] not in _WHOLE]:
            return "features", f"{', '.join(fractions)} must be whole numbers: factors and instants are counted by them"
        return "", ""

    def _place_of_tastes(self, features: GenreTastes) -> tuple[str, str]:
        if self.key != (features.user,) or self.label:
            return "key", f"[{features.user}], without a label: one row a user"
        try:
            known = dataset(features.items).column_names
        except ConfigurationError as error:
            return "features.items", error.required
        needed = {features.item, features.genres, "source_sha256"}
        if not needed <= set(known):
            return "features.items", f"a table of landed files with the columns {', '.join(sorted(needed))}"
        return "", ""

    def _baselines(self) -> tuple[str, str]:
        numbers = [*self.features.counts, *self.features.numeric, *self.features.codes]
        strangers = {name: column for name, column in self.baselines.items() if column not in numbers}
        if strangers:
            return "baselines", f"{strangers} name no feature that is a number; those are {', '.join(numbers)}"
        if self.task == "clustering" and not self.baselines:
            return "baselines", "one at least: a name and the column by whose size alone rows are grouped"
        if getattr(self.features, "impute", None) and self.baselines:
            return "baselines", "none where numbers are imputed: a baseline would be missing where its column is"
        if isinstance(self.features, RegularSeries) and self.baselines.get("persistence") != "lag_1":
            return "baselines", "persistence: lag_1, the value one step before, is what a series is compared with"
        if self.constant in self.baselines:
            return "baselines", f"{self.constant} is what every table begins with and has no column"
        if taken := sorted(_TAKEN & set(self.baselines)):
            return "baselines", f"other names than {', '.join(taken)}, which stand for somebody else"
        if self.gate.baseline not in self.baseline_names:
            return "gate.baseline", f"{self.gate.baseline!r} must be one of {', '.join(self.baseline_names)}"
        return "", ""

    def _metrics(self) -> tuple[str, str]:
        said = {"gate.metric": [self.gate.metric], "gate.must_beat_all_on": self.gate.must_beat_all_on}
        said |= {"search.metric": [self.search.metric]} if self.search else {}
        for field, metrics in said.items():
            if strangers := [metric for metric in metrics if metric not in METRICS[self.task]]:
                known = ", ".join(METRICS[self.task])
                return field, f"{self.task} is not measured by {', '.join(strangers)}; by {known}"
        return self._shares()

    def _shares(self) -> tuple[str, str]:
        least = self.gate.min_cluster_share
        if self.task != "clustering":
            return "gate.min_cluster_share", "nothing: it is for task clustering" if least else ""
        if not least:
            return "gate.min_cluster_share", "above 0: a result with nearly everything in one cluster must not pass"
        given = [hyperparameters(each).get("k", 1) for each in self.algorithms]
        most = max(k.high if isinstance(k, Range) else max(k) if isinstance(k, tuple) else k for k in given)
        many = f"{1 / most:.3f} or less: {most} clusters cannot hold more each"
        return "gate.min_cluster_share", many if least * most > 1 else ""

    def _algorithms(self) -> tuple[str, str]:
        able = [name for name, tasks in TASKS.items() if self.task in tasks]
        names = [algorithm.name for algorithm in self.algorithms]
        if strangers := [name for name in names if name not in able]:
            return "algorithms", f"{', '.join(strangers)} cannot do {self.task}; these can: {', '.join(able)}"
        if len(set(names)) != len(names):
            return "algorithms", "each algorithm may stand there once; give its hyperparameters lists to choose from"
        if self.task == "recommendation" and "implicit_als" not in names:
            return "algorithms", "implicit_als: lists made by a model of ratings are worse than those of popularity"
        if any(algorithm.name == "residual_als" and is_searched(algorithm) for algorithm in self.algorithms):
            return "algorithms", "residual_als with one value each: by its lists nobody can choose what is for ratings"
        return self._search()

    def _subgroups(self) -> tuple[str, str]:
        if self.subgroups and self.task not in _BY_ROW:
            return "subgroups", f"nothing: they are for task {' or '.join(_BY_ROW)}"
        known = [*self.features.columns, *self.key]
        strangers = [name for name in self.subgroups if name not in known]
        return "subgroups", f"columns of the snapshot: {', '.join(known)}" if strangers else ""

    def _probabilities(self) -> tuple[str, str]:
        names = {algorithm.name for algorithm in self.algorithms}
        if self.imbalance and (self.task != "classification" or not names <= _WEIGHED):
            return "imbalance", f"nothing: it is for task classification and {', '.join(sorted(_WEIGHED))}"
        if self.imbalance and self.imbalance.method == "smote" and self.features.categories:
            return "imbalance.method", "another one: halfway between two categories there is nothing"
        if self.calibration and (self.task != "classification" or "linear_svc" in names):
            return "calibration", "nothing: it needs probabilities, so task classification and no linear_svc"
        return "", ""

    def _search(self) -> tuple[str, str]:
        if self.search is None:
            chosen = len(self.algorithms) > 1 or any(map(is_searched, self.algorithms))
            return "search", "search: how to choose among what is listed, by which metric" if chosen else ""
        values = [value for each in self.algorithms for value in hyperparameters(each).values()]
        if self.search.method != "grid":
            need = f"search.trials is required: how many fits a {self.search.method} search makes"
            return "search.trials", "" if self.search.trials else need
        if any(isinstance(value, Range) for value in values):
            return "search.method", "a grid cannot try a range of numbers: give a list, or search at random"
        return "search.trials", "a grid tries every combination: search.trials must go" if self.search.trials else ""

    def _split(self) -> tuple[str, str]:
        kinds = KINDS[self.features.kind][1]
        if self.split.kind not in kinds:
            return "split.kind", f"features of kind {self.features.kind} are split by {' or '.join(kinds)}"
        if isinstance(self.split, RandomSplit):
            if self.split.stratify and (self.task != "classification" or self.split.together):
                return "split.stratify", "false: it draws single rows of a class, so task classification, no together"
            known = [*self.key, *self.features.columns, self.label]
            strangers = [name for name in self.split.together if name not in known]
            return "split.together", f"columns of the snapshot: {', '.join(filter(None, known))}" if strangers else ""
        if not isinstance(self.split, FileSplit):
            return "", ""
        if "source_file" not in dataset(self.dataset).column_names or not set(_LINE) <= set(self.key):
            return "split.kind", f"a table of landed files, with {' and '.join(_LINE)} in key; {self.dataset} is none"
        if self.ordered_by is not None:
            return "ordered_by", "nothing: a table that is split by files has no order"
        if strangers := [name for name in self.split.twin_columns if name not in self.features.numeric]:
            return "split.twin_columns", f"numeric features, which {', '.join(strangers)} are not"
        return "", ""

    def _folds(self) -> tuple[str, str]:
        if self.search and self.search.rolling_origin and not self.has_rolling_folds:
            how = "cut within each user" if self.split.kind == "user_time" else "drawn by key, as rows have no order"
            return "search.rolling_origin", f"nothing: folds of this pipeline are {how}"
        if self.search and self.search.stratify and (self.task != "classification" or self.has_rolling_folds):
            return "search.stratify", "false: it is for task classification, and for rows without an order"
        return "", ""

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
    def is_daily(self) -> bool:
        """Whether the dataset grows by the day of arrival; a table of landed files is taken whole."""
        return "arrived_on" in dataset(self.dataset).column_names

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the whole spec as canonical JSON, defaults included; comments and order do not count."""
        said = self.model_dump(mode="json")
        return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
