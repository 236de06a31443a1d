"""What the rows of a group are like, for people who give it a name."""

from pydantic import BaseModel, ConfigDict
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.answers import PREDICTION


class Profile(BaseModel):
    """One group: its rows, their share of all, and the mean of every feature column as the snapshot has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: int
    rows: int
    share: float
    means: dict[str, float]


def of(model: PipelineModel, rows: DataFrame, columns: list[str]) -> tuple[Profile, ...]:
    """The groups that ``model`` makes of ``rows``, the largest first; one without rows is left out."""
    means = [F.avg(column).alias(column) for column in columns]
    found = model.transform(rows).groupBy(PREDICTION).agg(F.count("*").alias("n_rows"), *means).collect()
    total = sum(row["n_rows"] for row in found)
    return tuple(
        Profile(
            cluster=row[PREDICTION], rows=row["n_rows"], share=row["n_rows"] / total,
            means={column: row[column] for column in columns},
        )
        for row in sorted(found, key=lambda row: (-row["n_rows"], row[PREDICTION]))
    )  # fmt: skip
