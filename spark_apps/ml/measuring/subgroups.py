"""Who within the rows is better or worse off: losses of a model by subgroup, paired with those of another one."""

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml.measuring import paired
from spark_apps.ml.measuring.paired import Difference

#: Subgroups with fewer rows, or rows in fewer blocks, can prove nothing and are left out.
MIN_ROWS, MIN_BLOCKS = 30, 10


class GroupLoss(BaseModel):
    """The mean loss of a model on the rows of one subgroup, and the paired test beside another model there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    loss: float
    against: Difference

    @property
    def other(self) -> float:
        """The mean loss of the other model."""
        return self.loss - self.against.mean


def beside(answers: DataFrame, spec: PipelineSpec, ours: Column, theirs: Column) -> dict[str, GroupLoss]:
    """Two predictions of the label by ``column=value`` of every column of ``spec.subgroups``, all in one pass.

    Losses and blocks of rows are those of ``paired``.
    """
    if not spec.subgroups:
        return {}
    names = [
        F.concat(F.lit(f"{column}="), F.coalesce(F.col(column).cast("string"), F.lit("null")))
        for column in spec.subgroups
    ]
    lost = answers.select(
        F.explode(F.array(*names)).alias("subgroup"),
        *[column.alias(f"block_{n}") for n, column in enumerate(paired.block(spec))],
        paired.row_loss(ours, spec).alias("ours"), paired.row_loss(theirs, spec).alias("theirs"),
    )  # fmt: skip
    blocks = lost.groupBy("subgroup", *[name for name in lost.columns if name.startswith("block_")]).agg(
        F.sum(F.col("ours") - F.col("theirs")).alias("d"), F.count("*").alias("n"), F.sum("ours").alias("ours")
    )
    sums = blocks.groupBy("subgroup").agg(*paired.of_blocks(), F.sum("ours").alias("ours")).orderBy("subgroup")
    return {
        row["subgroup"]: GroupLoss(rows=row["n"], loss=row["ours"] / row["n"], against=paired.from_sums(row))
        for row in sums.collect()
        if row["n"] >= MIN_ROWS and row["blocks"] >= MIN_BLOCKS
    }
