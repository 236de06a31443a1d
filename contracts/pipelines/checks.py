"""What the fields of a pipeline spec must agree on with each other, and with the dataset that they name."""

import re
from typing import TYPE_CHECKING

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.pipelines.algorithms import TASKS, Range, Task, hyperparameters, is_searched
from contracts.pipelines.features import GenreTastes, MinuteSeries, Ratings, RegularSeries, TableColumns, Visitors
from contracts.pipelines.parts import METRICS, FileSplit, RandomSplit

if TYPE_CHECKING:
    from contracts.pipelines.spec import PipelineSpec

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


def complaint(spec: "PipelineSpec") -> tuple[str, str]:
    """The first field that does not go with the others, and what is required of it; two empty texts where all agree."""
    checks = (
        _task, _columns, _baselines, _metrics, _algorithms, _subgroups, _gate, _probabilities, _split, _folds, _drift,
    )  # fmt: skip
    return next((found for check in checks if (found := check(spec))[1]), ("", ""))


def _task(spec: "PipelineSpec") -> tuple[str, str]:
    tasks = KINDS[spec.features.kind][0]
    if spec.task not in tasks:
        return "task", f"features of kind {spec.features.kind} are for task {' or '.join(tasks)}"
    select = getattr(spec.features, "select", None)
    if select and select.by == "test" and spec.task == "regression" and not spec.features.numeric:
        return "features.select.by", "variance or importance: there is no test of categories against numbers"
    if spec.forecast and not {spec.ordered_by, "forecast"} <= set(dataset(spec.forecast).column_names):
        return "forecast", f"a table with the columns {spec.ordered_by or 'ordered_by'} and forecast"
    return "", ""


def _columns(spec: "PipelineSpec") -> tuple[str, str]:
    if isinstance(spec.features, MinuteSeries | Visitors):
        brought = _MINUTES if isinstance(spec.features, MinuteSeries) else _HOSTS
        wrong = [name for name, value in brought.items() if getattr(spec, name) != value]
        if not wrong:
            return "", ""
        return wrong[0], f"{brought[wrong[0]] or 'nothing'}, as features of kind {spec.features.kind} have it"
    types = dataset(spec.dataset).types
    labels = (spec.label,) if spec.label or spec.task != "clustering" else ()
    for field, names in (("key", spec.key), ("label", labels), ("features", spec.features.given)):
        if strangers := [name for name in names if name not in types]:
            said = ", ".join(strangers) or "''"
            return field, f"{spec.dataset} has no column {said}; it has {', '.join(types)}"
    numbers = [*labels, *(name for name in spec.features.numeric if name in types)]
    if texts := [name for name in numbers if types[name] not in _NUMBERS]:
        return "features", f"{', '.join(texts)} must be numbers; categories may be texts, the label 0 and 1"
    if spec.label in spec.features.columns:
        return "label", f"the label {spec.label} cannot be a feature"
    return _place(spec)


def _place(spec: "PipelineSpec") -> tuple[str, str]:
    features = spec.features
    if isinstance(features, RegularSeries):
        place = (features.group, features.at)
        if spec.key != place or spec.ordered_by != features.at:
            return "key", f"[{', '.join(place)}], and ordered_by {features.at}: one row a group and step"
        if dataset(spec.dataset).types[features.at] != "timestamp":
            return "features.at", f"a timestamp, which {features.at} is not"
    if isinstance(features, TableColumns):
        return _place_of_table(spec)
    if isinstance(features, Ratings):
        return _place_of_ratings(spec, features)
    return _place_of_tastes(spec, features) if isinstance(features, GenreTastes) else ("", "")


def _place_of_table(spec: "PipelineSpec") -> tuple[str, str]:
    if "source_file" not in dataset(spec.dataset).types:
        return "dataset", f"a table of landed files, which have the column source_file; {spec.dataset} has none"
    return "ordered_by", "nothing: rows of a table have no order" if spec.ordered_by else ""


def _place_of_ratings(spec: "PipelineSpec", features: Ratings) -> tuple[str, str]:
    place = (features.user, features.item)
    if spec.key != place:
        return "key", f"[{', '.join(place)}]: a user rates an item once"
    types = dataset(spec.dataset).types
    if fractions := [name for name in features.given if types[name] not in _WHOLE]:
        return "features", f"{', '.join(fractions)} must be whole numbers: factors and instants are counted by them"
    if spec.label == features.at:
        return "label", "the rating, not the instant of it"
    return "ordered_by", "nothing: features.at says when somebody rated" if spec.ordered_by else ""


def _place_of_tastes(spec: "PipelineSpec", features: GenreTastes) -> tuple[str, str]:
    if spec.key != (features.user,) or spec.label:
        return "key", f"[{features.user}], without a label: one row a user"
    if dataset(spec.dataset).types[features.rating] not in _NUMBERS:
        return "features.rating", f"a number, which {features.rating} is not"
    if spec.ordered_by:
        return "ordered_by", "nothing: users have no order"
    try:
        known = dataset(features.items).column_names
    except ConfigurationError as error:
        return "features.items", error.required
    needed = {features.item, features.genres, "source_sha256"}
    if not needed <= set(known):
        return "features.items", f"a table of landed files with the columns {', '.join(sorted(needed))}"
    return "", ""


def _baselines(spec: "PipelineSpec") -> tuple[str, str]:
    numbers = [*spec.features.counts, *spec.features.numeric, *spec.features.codes]
    strangers = {name: column for name, column in spec.baselines.items() if column not in numbers}
    if strangers:
        return "baselines", f"{strangers} name no feature that is a number; those are {', '.join(numbers)}"
    if spec.task == "clustering" and not spec.baselines:
        return "baselines", "one at least: a name and the column by whose size alone rows are grouped"
    if getattr(spec.features, "impute", None) and spec.baselines:
        return "baselines", "none where numbers are imputed: a baseline would be missing where its column is"
    if isinstance(spec.features, RegularSeries) and spec.baselines.get("persistence") != "lag_1":
        return "baselines", "persistence: lag_1, the value one step before, is what a series is compared with"
    return _names_of_baselines(spec)


def _names_of_baselines(spec: "PipelineSpec") -> tuple[str, str]:
    if spec.constant in spec.baselines:
        return "baselines", f"{spec.constant} is what every table begins with and has no column"
    if unnamed := sorted(name for name in spec.baselines if not re.fullmatch(r"[a-z][a-z0-9_]*", name)):
        return "baselines", f"names of small letters, digits and _, which {', '.join(unnamed)} are not"
    if taken := sorted(_TAKEN & set(spec.baselines)):
        return "baselines", f"other names than {', '.join(taken)}, which stand for somebody else"
    if spec.gate.baseline not in spec.baseline_names:
        return "gate.baseline", f"{spec.gate.baseline!r} must be one of {', '.join(spec.baseline_names)}"
    return "", ""


def _metrics(spec: "PipelineSpec") -> tuple[str, str]:
    said = {"gate.metric": [spec.gate.metric], "gate.must_beat_all_on": spec.gate.must_beat_all_on}
    said |= {"search.metric": [spec.search.metric]} if spec.search else {}
    for field, metrics in said.items():
        if strangers := [metric for metric in metrics if metric not in METRICS[spec.task]]:
            known = ", ".join(METRICS[spec.task])
            return field, f"{spec.task} is not measured by {', '.join(strangers)}; by {known}"
    return _shares(spec)


def _shares(spec: "PipelineSpec") -> tuple[str, str]:
    least = spec.gate.min_cluster_share
    if spec.task != "clustering":
        return "gate.min_cluster_share", "nothing: it is for task clustering" if least else ""
    if not least:
        return "gate.min_cluster_share", "above 0: a result with nearly everything in one cluster must not pass"
    given = [hyperparameters(each).get("k", 1) for each in spec.algorithms]
    most = max(k.high if isinstance(k, Range) else max(k) if isinstance(k, tuple) else k for k in given)
    many = f"{1 / most:.3f} or less: {most} clusters cannot hold more each"
    return "gate.min_cluster_share", many if least * most > 1 else ""


def _algorithms(spec: "PipelineSpec") -> tuple[str, str]:
    able = [name for name, tasks in TASKS.items() if spec.task in tasks]
    names = [algorithm.name for algorithm in spec.algorithms]
    if strangers := [name for name in names if name not in able]:
        return "algorithms", f"{', '.join(strangers)} cannot do {spec.task}; these can: {', '.join(able)}"
    if len(set(names)) != len(names):
        return "algorithms", "each algorithm may stand there once; give its hyperparameters lists to choose from"
    if spec.task == "recommendation" and "implicit_als" not in names:
        return "algorithms", "implicit_als: lists made by a model of ratings are worse than those of popularity"
    if any(algorithm.name == "residual_als" and is_searched(algorithm) for algorithm in spec.algorithms):
        return "algorithms", "residual_als with one value each: by its lists nobody can choose what is for ratings"
    return _search(spec)


def _subgroups(spec: "PipelineSpec") -> tuple[str, str]:
    if spec.subgroups and spec.task not in _BY_ROW:
        return "subgroups", f"nothing: they are for task {' or '.join(_BY_ROW)}"
    known = [*spec.features.columns, *spec.key]
    strangers = [name for name in spec.subgroups if name not in known]
    return "subgroups", f"columns of the snapshot: {', '.join(known)}" if strangers else ""


def _gate(spec: "PipelineSpec") -> tuple[str, str]:
    gate = spec.gate
    if gate.max_skill <= gate.min_skill:
        return "gate.max_skill", f"above gate.min_skill, {gate.min_skill}: between them is what may pass"
    if gate.max_excess_ece is not None and spec.task != "classification":
        return "gate.max_excess_ece", "nothing: it is for task classification, whose answers are probabilities"
    if gate.max_subgroup_growth is not None and not spec.subgroups:
        return "gate.max_subgroup_growth", "nothing without subgroups: name the columns there, or take it out"
    return "", ""


def _probabilities(spec: "PipelineSpec") -> tuple[str, str]:
    names = {algorithm.name for algorithm in spec.algorithms}
    if spec.imbalance and (spec.task != "classification" or not names <= _WEIGHED):
        return "imbalance", f"nothing: it is for task classification and {', '.join(sorted(_WEIGHED))}"
    if spec.imbalance and spec.imbalance.method == "smote" and spec.features.categories:
        return "imbalance.method", "another one: halfway between two categories there is nothing"
    if spec.calibration and (spec.task != "classification" or "linear_svc" in names):
        return "calibration", "nothing: it needs probabilities, so task classification and no linear_svc"
    return "", ""


def _search(spec: "PipelineSpec") -> tuple[str, str]:
    if spec.search is None:
        chosen = len(spec.algorithms) > 1 or any(map(is_searched, spec.algorithms))
        return "search", "search: how to choose among what is listed, by which metric" if chosen else ""
    values = [value for each in spec.algorithms for value in hyperparameters(each).values()]
    if spec.search.method != "grid":
        need = f"search.trials is required: how many fits a {spec.search.method} search makes"
        return "search.trials", "" if spec.search.trials else need
    if any(isinstance(value, Range) for value in values):
        return "search.method", "a grid cannot try a range of numbers: give a list, or search at random"
    return "search.trials", "a grid tries every combination: search.trials must go" if spec.search.trials else ""


def _split(spec: "PipelineSpec") -> tuple[str, str]:
    kinds = KINDS[spec.features.kind][1]
    if spec.split.kind not in kinds:
        return "split.kind", f"features of kind {spec.features.kind} are split by {' or '.join(kinds)}"
    if isinstance(spec.split, RandomSplit):
        return _random_split(spec, spec.split)
    return _file_split(spec, spec.split) if isinstance(spec.split, FileSplit) else ("", "")


def _random_split(spec: "PipelineSpec", split: RandomSplit) -> tuple[str, str]:
    if split.stratify and (spec.task != "classification" or split.together):
        return "split.stratify", "false: it draws single rows of a class, so task classification, no together"
    known = [*spec.key, *spec.features.columns]
    strangers = [name for name in split.together if name not in known]
    if strangers:
        return "split.together", f"columns of the snapshot that are not the label: {', '.join(known)}"
    if isinstance(spec.features, RegularSeries) and spec.features.group not in split.together:
        why = "drawn by step, a row's neighbours would tell what it holds"
        return "split.together", f"[{spec.features.group}], which keeps a whole series on one side: {why}"
    return "", ""


def _file_split(spec: "PipelineSpec", split: FileSplit) -> tuple[str, str]:
    if "source_file" not in dataset(spec.dataset).column_names or not set(_LINE) <= set(spec.key):
        return "split.kind", f"a table of landed files, with {' and '.join(_LINE)} in key; {spec.dataset} is none"
    if spec.ordered_by is not None:
        return "ordered_by", "nothing: a table that is split by files has no order"
    if strangers := [name for name in split.twin_columns if name not in spec.features.numeric]:
        return "split.twin_columns", f"numeric features, which {', '.join(strangers)} are not"
    return "", ""


def _folds(spec: "PipelineSpec") -> tuple[str, str]:
    if spec.search and spec.search.rolling_origin and not spec.has_rolling_folds:
        how = "cut within each user" if spec.split.kind == "user_time" else "drawn by key, as rows have no order"
        return "search.rolling_origin", f"nothing: folds of this pipeline are {how}"
    if spec.search and spec.search.stratify and (spec.task != "classification" or spec.has_rolling_folds):
        return "search.stratify", "false: it is for task classification, and for rows without an order"
    return "", ""


def _drift(spec: "PipelineSpec") -> tuple[str, str]:
    policy = spec.drift
    if policy is None:
        return "", ""
    known = spec.watched_columns
    if strangers := [name for name in policy.columns if name not in known]:
        return "drift.columns", f"some of {', '.join(known)}, which {', '.join(strangers)} are not"
    groups = [*spec.key, *spec.features.columns]
    if policy.by is not None and policy.by not in groups:
        return "drift.by", f"a column of the snapshot that is not the label: {', '.join(groups)}"
    if policy.rhythm and not (spec.ordered_by and spec.task == "regression"):
        return "drift.rhythm", "false: only a series of numbers has hours that share a sum"
    if spec.ordered_by and policy.block_hours is None:
        return "drift.block_hours", "how long a stretch of rows must be for the next one to be independent of it"
    if policy.block_hours is not None and not spec.ordered_by:
        return "drift.block_hours", "nothing: rows of this pipeline have no order"
    if policy.window_files is not None and (spec.ordered_by or "source_sha256" not in spec.key):
        return "drift.window_files", "nothing: only a landed table without an order is looked at by files"
    return "", ""
