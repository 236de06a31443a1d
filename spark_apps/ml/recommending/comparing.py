"""Whether one recommender is better than another for the same users, or only luckier."""

import numpy as np
from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.recommending.columns import USER


class Difference(BaseModel):
    """Means over ``users``; ``mean`` is of candidate less baseline, and ``low`` to ``high`` its confidence interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int
    candidate: float
    baseline: float
    mean: float
    low: float
    high: float

    @property
    def is_gain(self) -> bool:
        return self.low > 0


def difference(
    candidate: DataFrame, baseline: DataFrame, *, measure: str, seed: int, draws: int = 2000, confidence: float = 0.95
) -> Difference:
    """Compare ``measure`` of frames with one row per ``user_id``; ValueError where their users are not the same.

    The interval is the percentile one of the paired bootstrap: users are drawn with replacement, each with both of
    its values (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; for lists Sakai, SIGIR 2006).
    """
    first = candidate.select(USER, F.col(measure).alias("candidate"))
    second = baseline.select(USER, F.col(measure).alias("baseline"))
    # One pair of numbers per user comes to the driver, in one order: the draws are then the same in every run.
    found = first.join(second, on=USER, how="full").orderBy(USER).toPandas()
    alone = int(found.isna().any(axis=1).sum())
    if alone or found.empty:
        raise ValueError(f"{alone} of {len(found)} users have a value on one side only; a pair needs both")
    gains = (found["candidate"] - found["baseline"]).to_numpy(np.float64)
    random = np.random.default_rng(seed)
    means = [gains[random.integers(len(gains), size=len(gains))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(
        users=len(gains), candidate=float(found["candidate"].mean()), baseline=float(found["baseline"].mean()),
        mean=float(gains.mean()), low=float(low), high=float(high),
    )  # fmt: skip
