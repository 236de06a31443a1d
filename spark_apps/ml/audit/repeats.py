"""Labels that were copied: an average of a month, say, to all of its days."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.audit.findings import Finding


def repeated_target(
    frame: DataFrame,
    *,
    label: str,
    period: Sequence[str],
    within: Sequence[str],
    least_excess: float = 0.2,
    least_groups: int = 30,
) -> list[Finding]:
    """Is the label one value of the ``period`` (a month, say) that was copied to its rows of one ``within``?

    Compared are pairs of rows of one ``within`` (site, weekday and slot, say): how many of one period have the same
    label, and how many of different ones, which is what chance does to labels of that size (of any two rows, where
    there is one period only). Found where the excess (agreement - chance) / (1 - chance), Cohen's kappa, reaches
    ``least_excess``, in ``least_groups`` or more groups of two rows, and is 5 standard errors if each group were one
    pair. Not "every group has one value": in the real SRN file that holds for 17 % of the groups, because the average
    changes with the school holidays inside a month. A split inside a period would then put the target on both sides.
    """
    labelled = frame.where(F.col(label).isNotNull())
    cells = labelled.groupBy(*within, *period, label).agg(F.count("*").alias("n"))
    inside, across = _pairs(cells, [*within, *period]), _pairs(cells.groupBy(*within, label).agg(_n()), within)
    others = across["pairs"] - inside["pairs"]
    if inside["groups"] < least_groups:
        return []
    if others:
        chance = (across["same"] - inside["same"]) / others
    else:
        anywhere = _pairs(cells.groupBy(label).agg(_n()), [])
        chance = anywhere["same"] / anywhere["pairs"]
    agreement = inside["same"] / inside["pairs"]
    excess = (agreement - chance) / (1 - chance) if chance < 1 else 0.0
    error = math.sqrt(chance * (1 - chance) / inside["groups"])
    if excess < least_excess or agreement - chance < 5 * error:
        return []
    evidence = {"agreement": agreement, "chance": chance, "excess": excess, "groups": inside["groups"]}
    return [
        Finding(
            kind="repeated_target", columns=(label, *period, *within), evidence=evidence,
            sentence=f"{label} is repeated: two rows of one {', '.join(period)} agree in {agreement:.1%} of the pairs, "
            f"of different ones in {chance:.1%}",
        )
    ]  # fmt: skip


def _n() -> Column:
    return F.sum("n").alias("n")


def _pairs(cells: DataFrame, by: Sequence[str]) -> Mapping[str, Any]:
    """Groups of two rows or more, pairs of their rows, and pairs with the ``same`` label; a cell has ``n`` rows."""
    groups = cells.groupBy(*by).agg(F.sum("n").alias("rows"), F.sum(F.expr("n * (n - 1D) / 2")).alias("same"))
    found = groups.where("rows > 1").agg(
        F.count("*").alias("groups"),
        F.coalesce(F.sum(F.expr("rows * (rows - 1D) / 2")), F.lit(0.0)).alias("pairs"),
        F.coalesce(F.sum("same"), F.lit(0.0)).alias("same"),
    )
    return found.collect()[0].asDict()
