"""How well groups are told apart: the silhouette of every row in every grouping, and what a grouping looks like."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pyspark.ml.functions import vector_to_array
from pyspark.ml.stat import Summarizer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.clustering.space import VECTOR


class Clusters(BaseModel):
    """One grouping of ``rows``: mean silhouette (-1 to 1), groups that have rows, and shares of all rows.

    ``smallest_share`` is 0 where a group of the model has no row here. One group that holds nearly everything can have
    a high silhouette, so the shares belong beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    silhouette: float
    clusters: int
    smallest_share: float
    largest_share: float

    def numbers(self) -> dict[str, float]:
        """The measures by name, without rows."""
        return self.model_dump(exclude={"rows"})


@dataclass(frozen=True)
class _Group:
    """Rows of a group, their mean, and the mean of their squared lengths."""

    rows: int
    mean: list[float]
    square: float


def measure(rows: DataFrame, expected: Mapping[str, int]) -> tuple[dict[str, Clusters], DataFrame]:
    """``rows`` with VECTOR and, for each name, its groups (int) in column ``name`` -> measures by name, and values.

    ``expected`` is the number of groups that each name has, in the order of the answer. The values are ``rows`` with
    the silhouette (double) of the row in place of each group.
    """
    found = _groups(rows, list(expected))
    if not any(found.values()):
        raise ValueError("silhouettes of no rows were asked for")
    values = rows.withColumns({name: _silhouette(F.col(name), groups) for name, groups in found.items()})
    means = values.agg(*[F.avg(name).alias(name) for name in expected]).collect()[0]
    return {name: _clusters(found[name], means[name], number) for name, number in expected.items()}, values


def _groups(rows: DataFrame, names: list[str]) -> dict[str, dict[int, _Group]]:
    """Groups of every name in one pass."""
    long = rows.select(
        VECTOR, _square().alias("square"),
        F.explode(F.array(*[F.struct(F.lit(name).alias("name"), F.col(name).alias("group")) for name in names])),
    )  # fmt: skip
    sums = long.groupBy("col.name", "col.group").agg(
        F.count("*").alias("rows"), F.avg("square").alias("square"), Summarizer.mean(F.col(VECTOR)).alias("mean")
    )
    found: dict[str, dict[int, _Group]] = {name: {} for name in names}
    for row in sums.orderBy("name", "group").collect():
        found[row["name"]][row["group"]] = _Group(row["rows"], [float(x) for x in row["mean"]], row["square"])
    return found


def _silhouette(group: Column, groups: Mapping[int, _Group]) -> Column:
    """``(b - a) / max(a, b)``, a and b the mean squared distances to the own group's others and to the next group.

    As in Rousseeuw (Journal of Computational and Applied Mathematics 20, 1987), 0 for a row alone in its group; also 0
    where all rows are in one group. A mean squared distance needs the group's mean and mean square only, as Spark's
    ClusteringEvaluator has it; that one gives no values of rows.
    """
    if len(groups) < 2:
        return F.lit(0.0)
    point = vector_to_array(F.col(VECTOR))
    away = {number: _square() + one.square - 2 * _dot(point, one.mean) for number, one in groups.items()}
    # A group's mean counts the row itself, at distance 0.
    alone = {number: one.rows / (one.rows - 1) if one.rows > 1 else 0.0 for number, one in groups.items()}
    own = F.coalesce(*[F.when(group == number, away[number] * alone[number]) for number in groups])
    following = F.least(*[F.when(group != number, away[number]) for number in groups])
    is_alone = group.isin([number for number, one in groups.items() if one.rows == 1])
    most = F.greatest(own, following)
    return F.when(~is_alone & (most > 0), (following - own) / most).otherwise(0.0)


def _clusters(groups: Mapping[int, _Group], silhouette: float, expected: int) -> Clusters:
    sizes = [one.rows for one in groups.values()]
    rows = sum(sizes)
    return Clusters(
        rows=rows, silhouette=silhouette, clusters=len(sizes), largest_share=max(sizes) / rows,
        smallest_share=min(sizes) / rows if len(sizes) >= expected else 0.0,
    )  # fmt: skip


def _square() -> Column:
    return F.aggregate(vector_to_array(F.col(VECTOR)), F.lit(0.0), lambda total, x: total + x * x)


def _dot(point: Column, numbers: list[float]) -> Column:
    products = F.zip_with(point, F.array(*[F.lit(x) for x in numbers]), lambda x, y: x * y)
    return F.aggregate(products, F.lit(0.0), lambda total, x: total + x)
