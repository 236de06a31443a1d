"""Which columns a model sees, by kind of dataset. A further kind is a class here and a transform."""

import re
from math import inf
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from contracts.pipelines.parts import SPEC

Steps = Annotated[int, Field(ge=1)]


class _Made(BaseModel):
    """Features that are made of a dataset's rows; a kind says which of these it has."""

    model_config = SPEC

    @property
    def counts(self) -> list[str]:
        """Columns on the label's own scale: a model with a log link sees their log1p."""
        return []

    @property
    def numeric(self) -> list[str]:
        """Columns that are numbers on a scale of their own."""
        return []

    @property
    def codes(self) -> list[str]:
        """Columns of whole numbers in an order, of which a linear model sees one column each value."""
        return []

    @property
    def categories(self) -> list[str]:
        """Columns of names without an order."""
        return []

    @property
    def columns(self) -> list[str]:
        """Every feature column of the snapshot, in its order."""
        return [*self.counts, *self.numeric, *self.codes, *self.categories]


class MinuteSeries(_Made):
    """Features of one minute from the minutes before it. All numbers of minutes count back from that minute."""

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
    def counts(self) -> list[str]:
        """Columns on the label's own scale: a model with a log link sees their log1p."""
        return [*self.lags, *self.rolling_means]

    @property
    def numeric(self) -> list[str]:
        """Columns that are numbers on a scale of their own."""
        return ["hour_sin", "hour_cos"] if "hour" in self.calendar else []

    @property
    def codes(self) -> list[str]:
        """Columns of whole numbers in an order, of which a linear model sees one column each value."""
        return ["weekday"] if "weekday" in self.calendar else []


class Selection(BaseModel):
    """Which entries of the vector a model keeps: those that score highest on the training part.

    ``variance`` knows no label; ``test`` is chi-squared, analysis of variance or a regression's F, by what label and
    features are; ``importance`` is that of a forest with Spark's defaults.
    """

    model_config = SPEC

    by: Literal["variance", "test", "importance"]
    #: Entries that are kept; for ``variance`` those that vary more than ``above``.
    top: int | None = Field(default=None, ge=1)
    above: float | None = Field(default=None, ge=0.0)

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        if (self.top is None) == (self.by != "variance") or (self.above is None) == (self.by == "variance"):
            raise ValueError("by variance needs above, by test and by importance need top, and nothing else")
        return self


class TableColumns(BaseModel):
    """Columns of the dataset as they stand, one example a row."""

    model_config = SPEC

    kind: Literal["table"]
    numeric: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    #: Numeric columns, 0 or more, that every model sees as log1p.
    logs: tuple[str, ...] = ()
    #: Pairs of numeric columns whose product is a feature too.
    products: tuple[tuple[str, str], ...] = ()
    #: What a missing number becomes, learned from the training part; without it such rows are left out, and counted.
    impute: Literal["mean", "median"] | None = None
    select: Selection | None = None

    @model_validator(mode="after")
    def _has_columns(self) -> Self:
        if not self.columns:
            raise ValueError("at least one column is required in numeric or categories")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("each column may appear once")
        made = {*self.logs, *(column for pair in self.products for column in pair)}
        if len({frozenset(pair) for pair in self.products}) != len(self.products):
            raise ValueError("each product may appear once")
        if strangers := sorted(made - set(self.numeric)):
            raise ValueError(f"logs and products are made of numeric columns, which {', '.join(strangers)} are not")
        return self

    @property
    def counts(self) -> list[str]:
        return []

    @property
    def codes(self) -> list[str]:
        return []

    @property
    def given(self) -> list[str]:
        """Columns that the dataset must have."""
        return self.columns

    @property
    def columns(self) -> list[str]:
        return [*self.numeric, *self.categories]


class RegularSeries(_Made):
    """Features of one step of a regular series from earlier steps of the same group. Steps count back from it."""

    kind: Literal["regular_series"]
    #: Column that names the series a row belongs to, and the one that says when the step begins.
    group: str
    at: str
    step_min: int = Field(ge=1, le=1440)
    lags_steps: tuple[Steps, ...] = Field(min_length=1)
    rolling_means_steps: tuple[Steps, ...] = ()
    calendar: tuple[Literal["slot", "weekday"], ...] = ()

    @field_validator("lags_steps", "rolling_means_steps")
    @classmethod
    def _once(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(steps)) != len(steps):
            raise ValueError("each number of steps may appear once")
        return steps

    @field_validator("step_min")
    @classmethod
    def _divides_the_day(cls, step_min: int) -> int:
        if 1440 % step_min:
            raise ValueError("the step must divide the day, so that a slot is the same time every day")
        return step_min

    @property
    def counts(self) -> list[str]:
        return [*(f"lag_{n}" for n in self.lags_steps), *(f"mean_{n}" for n in self.rolling_means_steps)]

    @property
    def codes(self) -> list[str]:
        return list(self.calendar)

    @property
    def categories(self) -> list[str]:
        return [self.group]

    @property
    def given(self) -> list[str]:
        """Columns that the dataset must have."""
        return [self.group, self.at]


class Visitors(_Made):
    """What each host of an access log did within the window: how much, what and how evenly.

    Amounts are counts (a model sees their log1p), the others shares of the host's requests, from 0 to 1.
    """

    kind: Literal["visitors"]
    #: Hosts with fewer requests are left out: a share of two requests says nothing.
    min_requests: int = Field(ge=1)
    #: Requests for images, for pages, answered 400 or above, with method HEAD, answered 304, and between midnight and
    #: six on the log's own wall clock. Which of them tell hosts apart depends on log and window: a share that
    #: few hosts have puts these few far away from all others.
    shares: tuple[Literal["image", "page", "error", "head", "not_modified", "night"], ...] = Field(min_length=1)

    @field_validator("shares")
    @classmethod
    def _shares_once(cls, shares: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(shares)) != len(shares):
            raise ValueError("each share may appear once")
        return shares

    @property
    def counts(self) -> list[str]:
        return ["requests", "resources", "bytes_mean", "sessions", "requests_per_session", "busiest_minute"]

    @property
    def numeric(self) -> list[str]:
        return [f"{share}_share" for share in self.shares]


class GenreTastes(_Made):
    """What each user likes more, and less, than the rest of what he rates: one number from -1 to 1 for each genre."""

    kind: Literal["genre_tastes"]
    user: str
    item: str
    rating: str
    #: Dataset with the item's genres, joined by ``|``, and the column that holds them.
    items: str
    genres: str
    #: Users with fewer ratings are left out.
    min_ratings: int = Field(ge=1)
    #: Genres that become columns, as the dataset writes them.
    of: tuple[str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _has_a_column_for_each(self) -> Self:
        if len(set(self.numeric)) != len(self.of) or "likes_" in self.numeric:
            raise ValueError(
                "the letters a to z and digits of each genre must name a column of its own; "
                f"found {', '.join(self.numeric)}"
            )
        return self

    @property
    def numeric(self) -> list[str]:
        return ["likes_" + re.sub(r"[^a-z0-9]+", "_", genre.lower()).strip("_") for genre in self.of]

    @property
    def given(self) -> list[str]:
        """Columns that the dataset must have."""
        return [self.user, self.item, self.rating]


class Ratings(_Made):
    """Who rated what, when and how: a matrix with holes. The rating is the label."""

    kind: Literal["ratings"]
    user: str
    item: str
    at: str
    #: Ratings of so much and more are likes, which lists are made from and judged by.
    liked_from: float
    #: Least and largest rating there is.
    bounds: tuple[float, float]
    #: Length of a list.
    top: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        low, high = self.bounds
        if not -inf < low < self.liked_from <= high < inf:
            raise ValueError(f"bounds [{low}, {high}] must rise, and liked_from {self.liked_from} lie between them")
        if len({self.user, self.item, self.at}) < 3:
            raise ValueError("user, item and at must be three columns")
        return self

    @property
    def categories(self) -> list[str]:
        return [self.user, self.item]

    @property
    def given(self) -> list[str]:
        """Columns that the dataset must have."""
        return [self.user, self.item, self.at]


Features = Annotated[
    MinuteSeries | TableColumns | RegularSeries | Visitors | GenreTastes | Ratings, Field(discriminator="kind")
]
