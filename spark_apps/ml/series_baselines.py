"""What every model of a regular series must beat: means and calendar profiles of the train part, and earlier values."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_FROZEN = ConfigDict(frozen=True, extra="forbid")

MEAN = "mean"
GROUP_MEAN = "group_mean"
PROFILE = "profile"
PERSISTENCE = "persistence"
PERSISTENCE_PLUS_PROFILE = "persistence_plus_profile_change"


class Cell(BaseModel):
    """Mean of a group's values in one slot of one weekday (1 Monday), and by how much the slot before is below it.

    ``change`` is 0 where the train part has nothing in the slot before.
    """

    model_config = _FROZEN

    group: str
    weekday: int
    slot: int
    mean: float
    change: float


class SeriesBaselines(BaseModel):
    """Baselines as numbers, fitted on the train part; stored with the model as JSON.

    ``earlier`` says which column holds each baseline that is an earlier value, ``persistence`` among them.
    """

    model_config = _FROZEN

    grouped_by: str
    earlier: dict[str, str]
    mean: float
    group_means: dict[str, float]
    cells: tuple[Cell, ...]

    @property
    def names(self) -> list[str]:
        """Columns that ``predict`` adds, in its order: the mean of all train rows first."""
        return [MEAN, GROUP_MEAN, PROFILE, *self.earlier, PERSISTENCE_PLUS_PROFILE]

    def predict(self, frame: DataFrame) -> DataFrame:
        """``frame`` (group, ``weekday``, ``slot``, the columns of ``earlier``) and a column (double) per baseline.

        A slot that the train part lacks has the mean of its group, an unknown group the mean of all; then the profile
        says nothing about a change, and persistence stays as it is.
        """
        spark = frame.sparkSession
        means = spark.createDataFrame(list(self.group_means.items()), "_group string, _group_mean double")
        cells = spark.createDataFrame(
            [(cell.group, cell.weekday, cell.slot, cell.mean, cell.change) for cell in self.cells],
            "_cell_group string, _weekday int, _slot int, _cell_mean double, _change double",
        )
        group = F.col(self.grouped_by).cast("string")
        is_day = (group == F.col("_cell_group")) & (F.col("weekday") == F.col("_weekday"))
        joined = frame.join(F.broadcast(means), on=group == F.col("_group"), how="left")
        joined = joined.join(F.broadcast(cells), on=is_day & (F.col("slot") == F.col("_slot")), how="left")
        group_mean = F.coalesce("_group_mean", F.lit(self.mean))
        predictions: dict[str, Column] = {
            MEAN: F.lit(self.mean),
            GROUP_MEAN: group_mean,
            PROFILE: F.coalesce("_cell_mean", group_mean),
            **{name: F.col(column) for name, column in self.earlier.items()},
            PERSISTENCE_PLUS_PROFILE: F.col(self.earlier[PERSISTENCE]) + F.coalesce("_change", F.lit(0.0)),
        }
        return joined.select(*frame.columns, *[predictions[name].cast("double").alias(name) for name in self.names])


def fit(
    train: DataFrame, *, group: str, value: str, slots_per_day: int, persistence: str, seasonal: Mapping[str, str]
) -> SeriesBaselines:
    """Baselines of the rows of ``train`` alone, which have ``<group>, <value>, weekday, slot``; rows without a value
    count for nothing.

    ``persistence`` is the column of the value one step before, ``seasonal`` the columns of older ones by the name of
    their baseline. One row for each group, weekday and slot comes to the driver. ValueError where there is no value.
    """
    sums = (
        train.where(F.col(value).isNotNull())
        .groupBy(F.col(group).cast("string").alias("group"), "weekday", "slot")
        .agg(F.sum(F.col(value).cast("double")).alias("total"), F.count("*").alias("rows"))
        .orderBy("group", "weekday", "slot")
        .collect()
    )
    if not sums:
        raise ValueError("baselines of no rows were asked for")
    means = {(row["group"], row["weekday"], row["slot"]): row["total"] / row["rows"] for row in sums}
    totals: dict[str, tuple[float, int]] = {}
    for row in sums:
        total, rows = totals.get(row["group"], (0.0, 0))
        totals[row["group"]] = total + row["total"], rows + row["rows"]
    return SeriesBaselines(
        grouped_by=group,
        earlier={PERSISTENCE: persistence, **seasonal},
        mean=sum(total for total, _ in totals.values()) / sum(rows for _, rows in totals.values()),
        group_means={name: total / rows for name, (total, rows) in totals.items()},
        cells=tuple(_cell(means, *key, slots_per_day) for key in means),
    )


def _cell(means: Mapping[tuple[str, int, int], float], group: str, weekday: int, slot: int, slots_per_day: int) -> Cell:
    mean = means[group, weekday, slot]
    # Before the first slot of a Monday comes the last one of a Sunday.
    before = (group, weekday, slot - 1) if slot else (group, (weekday - 2) % 7 + 1, slots_per_day - 1)
    return Cell(group=group, weekday=weekday, slot=slot, mean=mean, change=mean - means.get(before, mean))
