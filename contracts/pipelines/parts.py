"""How a workload is split, searched, judged and scheduled."""

import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SPEC = ConfigDict(frozen=True, extra="forbid")

_CRON_FIELD = re.compile(r"^(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*$")
_CRON_LIMITS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))

Metric = Literal[
    "mae", "rmse", "poisson_deviance", "roc_auc", "pr_auc", "log_loss", "brier", "silhouette", "ndcg"
]  # fmt: skip
#: Metrics of which 1 is perfect; the others are errors, of which less is better.
AREAS: tuple[Metric, ...] = ("roc_auc", "pr_auc", "silhouette", "ndcg")
#: What each task is measured by.
METRICS: dict[str, tuple[Metric, ...]] = {
    "regression": ("mae", "rmse", "poisson_deviance"),
    "classification": ("roc_auc", "pr_auc", "log_loss", "brier"),
    "clustering": ("silhouette",),
    # Never by the error of ratings: models with a lower one made worse lists.
    "recommendation": ("ndcg",),
}


class TimeSplit(BaseModel):
    """The holdout is the newest part: of all rows, or of each group for ``group_time``.

    Fewer rows than the minimum end a training as ``not_enough_data``.
    """

    model_config = SPEC

    kind: Literal["time", "group_time"]
    holdout_fraction: float = Field(gt=0.0, lt=1.0)
    min_train_rows: int = Field(ge=2)
    min_holdout_rows: int = Field(ge=2)


class FileSplit(BaseModel):
    """The holdout is the rows of some landed files; rows of files that neither pattern fits are not used.

    Patterns are those of a shell (``*.csv``); a file that fits both is trained on. Holdout rows that occur among the
    training rows, each of the numeric ``twin_columns`` closer than ``twin_distance``, are left out, and counted.
    """

    model_config = SPEC

    kind: Literal["files"]
    train: str = Field(min_length=1)
    holdout: str = Field(min_length=1)
    twin_columns: tuple[str, ...] = ()
    twin_distance: float = Field(default=0.0, ge=0.0)
    min_train_rows: int = Field(ge=2)
    min_holdout_rows: int = Field(ge=2)

    @model_validator(mode="after")
    def _twins_are_near(self) -> Self:
        if bool(self.twin_columns) != (self.twin_distance > 0):
            raise ValueError("twin_columns and a twin_distance above 0 belong together")
        return self


class RandomSplit(BaseModel):
    """The holdout is drawn, by what ``together`` says: rows that agree in these columns stay on one side.

    Which side does not depend on the other rows, so that no later model is judged on what an earlier one was told. With
    ``stratify`` it depends on how many rows their class has: the cuts are stored, and later models compared by them.
    """

    model_config = SPEC

    kind: Literal["random"]
    holdout_fraction: float = Field(gt=0.0, lt=1.0)
    #: Columns of the snapshot; without any the key, and every row for itself.
    together: tuple[str, ...] = ()
    #: Each class gives ``holdout_fraction`` of its own rows, rounded; for classes too rare to be left to chance.
    stratify: bool = False
    min_train_rows: int = Field(ge=2)
    min_holdout_rows: int = Field(ge=2)


class UserSplit(BaseModel):
    """The holdout is the latest part of each user's ratings, the number of training rows rounded down."""

    model_config = SPEC

    kind: Literal["user_time"]
    holdout_fraction: float = Field(gt=0.0, lt=1.0)
    min_train_rows: int = Field(ge=2)
    min_holdout_rows: int = Field(ge=2)


Split = Annotated[TimeSplit | FileSplit | RandomSplit | UserSplit, Field(discriminator="kind")]


class Imbalance(BaseModel):
    """What is done about unequal classes, in training rows only; probabilities are brought back to the true share."""

    model_config = SPEC

    method: Literal["weights", "undersample", "oversample", "smote"]
    #: Rows of the smaller class, or weight, per row of the larger one after the remedy.
    ratio: float = Field(default=1.0, gt=0.0, le=1.0)


class RollingOrigin(BaseModel):
    """How ordered rows are cut into ``folds + 1`` like parts: each but the first validates what those before it taught.

    A series with groups is cut in each group by itself. What belongs to a row may reach over a cut, from either side;
    these minutes are left out. López de Prado's embargo (Advances in Financial Machine Learning, 2018, 7.4.2) is for
    rows that are fitted on after validated ones, into which their features reach back. Here none are: what reaches back
    over a cut are features of the rows that validate, so it is those that the embargo leaves out.
    """

    model_config = SPEC

    #: Fitted on are all parts before the one that validates, or as many rows as the first part has, the last of them.
    window: Literal["expanding", "rolling"] = "expanding"
    #: Minutes before a cut that are not fitted on: for labels that are known only so much later.
    gap_min: int = Field(default=0, ge=0)
    #: Minutes after a cut that do not validate: for lags and rolling means that reach so far back into fitted rows. The
    #: next fold fits on them.
    embargo_min: int = Field(default=0, ge=0)


class Search(BaseModel):
    """How the algorithms' hyperparameters are chosen: inside the training part, by folds of it.

    Folds of ordered rows are rolling-origin (train on the past, validate on what comes next), of others random by key.
    """

    model_config = SPEC

    method: Literal["grid", "random", "bayesian"]
    #: Fits of each algorithm; a grid tries every combination and takes no number.
    trials: int | None = Field(default=None, ge=1)
    folds: int = Field(default=3, ge=2, le=20)
    #: For rows with an order; without it the window expands, and nothing is left out around a cut.
    rolling_origin: RollingOrigin | None = None
    #: For classification of rows without an order: every fold has as many rows of a class as any other, or one more.
    stratify: bool = False
    metric: Metric
    #: Trials that are fitted at the same time.
    parallelism: int = Field(default=1, ge=1, le=16)
    #: A trial that is worse than the median of the others after a fold gets no further fold.
    stop_hopeless: bool = False

    @model_validator(mode="after")
    def _is_repeatable(self) -> Self:
        if self.parallelism > 1 and (self.stop_hopeless or self.method == "bayesian"):
            raise ValueError(
                "parallelism above 1 goes with method grid or random, without stop_hopeless: what a trial then learns "
                "from others would depend on which of them ends first"
            )
        return self


class Calibration(BaseModel):
    """How probabilities are made to mean what they say: on rows that the scoring model has not seen, by folds."""

    model_config = SPEC

    #: Platt keeps the order of rows; isotonic bends more, and makes ties that cost ranking.
    method: Literal["platt", "isotonic"]
    folds: int = Field(default=5, ge=2, le=20)


class Gate(BaseModel):
    """When a candidate may become champion. Skill is ``1 - loss / loss of the baseline``.

    The loss of an error is the error itself, of an area under a curve what it lacks to 1. Nobody may have been trained
    on rows of the holdout, whatever else is said here.
    """

    model_config = SPEC

    metric: Metric
    #: The predictor that ``min_skill`` is measured against.
    baseline: str
    min_skill: float = Field(ge=0.0, lt=1.0)
    #: More skill than this is too good to be true: a feature knows the label, or the model the holdout.
    max_skill: float = Field(default=1.0, gt=0.0, le=1.0)
    #: Metrics that must be better than those of every baseline, whatever ``metric`` says.
    must_beat_all_on: tuple[Metric, ...] = ()
    #: Least share of the rows in every cluster, also those of a search's trials: with nearly everything in one cluster
    #: a silhouette can be high.
    min_cluster_share: float = Field(default=0.0, ge=0.0, le=0.5)
    #: For classification: how far the expected calibration error may lie above ``ece_limit``, which 95 % of perfectly
    #: calibrated models with these probabilities stay below. Without it probabilities may mean anything.
    max_excess_ece: float | None = Field(default=None, ge=0.0, lt=1.0)
    #: A champion is replaced only by a candidate whose loss is smaller by at least this share.
    min_gain: float = Field(ge=0.0, lt=1.0)
    #: Share by which the mean loss of any subgroup may grow beside that of the champion, or of the baseline where there
    #: is none to compare with; more is refused where it is no luck. Log loss where the metric is one of probabilities.
    max_subgroup_growth: float | None = Field(default=None, ge=0.0, le=10.0)
    #: How many times as long as the champion a candidate may take to answer for the holdout.
    max_cost_ratio: float | None = Field(default=None, ge=1.0, le=1000.0)


def _five_fields(cron: str) -> str:
    fields = cron.split()
    if len(fields) != len(_CRON_LIMITS):
        raise ValueError("five fields are required: minute hour day-of-month month day-of-week")
    for field, (name, lowest, highest) in zip(fields, _CRON_LIMITS, strict=True):
        within = all(lowest <= int(n) <= highest for n in re.findall(r"(?<![\d/])\d+", field))
        ascending = all(int(a) <= int(b) for a, b in re.findall(r"(\d+)-(\d+)", field))
        if not _CRON_FIELD.match(field) or not within or not ascending or re.search(r"/0+(?!\d)", field):
            raise ValueError(
                f"{name} is {field!r}; allowed are *, numbers {lowest}-{highest}, rising ranges, lists, /steps"
            )
    return cron


def _known_zone(timezone: str) -> str:
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("an IANA time zone such as UTC or America/New_York is required") from error
    return timezone


#: Five-field cron.
Cron = Annotated[str, AfterValidator(_five_fields)]
#: Name of an IANA time zone.
Zone = Annotated[str, AfterValidator(_known_zone)]


class Schedule(BaseModel):
    """When to retrain and on which days, and when a run is called late."""

    model_config = SPEC

    cron: Cron
    timezone: Zone = "UTC"
    deadline_min: int = Field(gt=0, le=60 * 24 * 366)
    #: Days of arrival that a training looks back on, its last day included; a landed table is taken whole.
    window_days: int = Field(default=28, ge=1, le=3660)
    #: No second training sooner after one by the same file that came to a decision, unless somebody forces it.
    cool_down_hours: float = Field(default=6, ge=0, le=24 * 366)
