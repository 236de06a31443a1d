"""When rows that come in are no longer like those that the champion was trained on, and what follows from it."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from contracts.pipelines.parts import SPEC, Cron, Zone

#: Name by which a policy asks for what the champion answers; no column of a snapshot can have it.
PREDICTION = "prediction"


class Confirmation(BaseModel):
    """Drift counts when ``windows`` of the newest ``of`` checks of one champion saw it, the latest among them."""

    model_config = SPEC

    windows: int = Field(default=1, ge=1, le=50)
    of: int = Field(default=1, ge=1, le=50)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.windows > self.of:
            raise ValueError(f"windows {self.windows} of {self.of} can never be: windows must not be larger")
        return self


class DriftPolicy(BaseModel):
    """How the rows that the champion does not know are compared with its training snapshot, and what follows.

    Rows of a series are not independent of their neighbours: ``block_hours`` says how long a stretch must be for the
    next one to be. Without it rows are taken for independent.
    """

    model_config = SPEC

    #: When checks run.
    cron: Cron
    timezone: Zone = "UTC"

    #: The newest rows that are judged: days of arrival of a daily dataset, of event time in a landed series. A landed
    #: table without an order is judged whole, as far as the champion does not know it.
    window_days: float = Field(default=7, gt=0, le=3660)
    #: Of a landed table without an order, the files that landed last: what changed with them is not thinned out by
    #: those before. Files that are landed one by one are looked at one by one with 1.
    window_files: int | None = Field(default=None, ge=1, le=1000)
    #: Fewer rows are no ground for a judgement. Below 500 a test finds large shifts only, and a share of its false
    #: alarms looks like them (benchmarks/drift.py).
    min_rows: int = Field(default=500, ge=50)
    #: Columns that are compared, ``prediction`` among them: all of features, label and prediction unless said.
    columns: tuple[str, ...] = ()
    #: Column by whose values rows are compared apart, e.g. a site.
    by: str | None = None
    block_hours: float | None = Field(default=None, gt=0, le=24 * 366)
    #: Compare also how the hours of the day (UTC) share the label's sum, day against day: the season of a series,
    #: whatever its level. The reference needs six whole days.
    rhythm: bool = False
    #: Chance that a check of rows without drift says drift.
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=0.5)
    #: A smaller shift is none, however certain: largest difference of the distribution functions, or of two shares.
    min_effect: float = Field(default=0.05, ge=0, lt=1)
    #: Growth of the mean loss over that on the holdout, as a share of it, that is no drift yet.
    min_loss_growth: float = Field(default=0.1, ge=0)
    #: Growth of a column's share of missing values that a person must look at: the data are broken, not different.
    max_missing_growth: float = Field(default=0.05, gt=0, le=1)
    confirm: Confirmation = Confirmation()
    #: No second training because of drift sooner after one that came to a decision.
    cool_down_hours: float = Field(default=24, ge=0, le=24 * 366)
    #: What a confirmed drift leads to: a message, a training, or a question to a person whether to train.
    action: Literal["alert", "retrain", "ask"] = "retrain"
    #: What trainings are made of: everything, or nothing from before the last drift. ``since_drift`` takes the rows
    #: from the first window in which the drift that was confirmed was seen: older ones teach what is not true any more.
    #: Everything, where that is too little for the split.
    train_on: Literal["all", "since_drift"] = "all"
