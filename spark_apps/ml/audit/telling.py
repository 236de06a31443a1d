"""Features of one table that tell its label."""

import math
from collections.abc import Sequence

from pyspark.ml.feature import Bucketizer
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import FractionalType, NumericType

from spark_apps.ml.audit.findings import Finding, Task


def before_training(frame: DataFrame, *, features: Sequence[str], label: str, task: Task) -> list[Finding]:
    """What one table shows by itself: determining features, and dependencies of columns that are not fractional."""
    fractional = {field.name for field in frame.schema.fields if isinstance(field.dataType, FractionalType)}
    discrete = [each for each in features if each not in fractional]
    return [
        *determining_features(frame, features=features, label=label, task=task),
        *(functional_dependencies(frame, columns=discrete, label=label) if discrete else []),
    ]


def determining_features(
    frame: DataFrame,
    *,
    features: Sequence[str],
    label: str,
    task: Task,
    least_balanced_accuracy: float = 0.98,
    least_r2: float = 0.999,
    bins: int = 256,
) -> list[Finding]:
    """Features that alone tell the label, tried together on the rows that have one: three passes for any number.

    Each feature is a decision tree of one leaf per bin (quantiles; per value for text), and each row is judged by its
    leaf without itself, so that an identifier tells nothing. Classes are judged by balanced accuracy, where the best
    single HIGGS feature is below .65 and the jobs' second leak has .993. Numbers are judged by R2 of the leaves or of a
    straight line, whichever is better; the limit there is nearly 1 because an honest lag of a smooth series is close
    (.977 on traffic) and a copy, a sum or another unit of the label is exact. Leaves alone miss a curved copy of a
    label with a very long tail.
    """
    y = F.col(label).cast("double" if task == "regression" else "string")
    rows = frame.where(F.col(label).isNotNull())
    numeric = [each for each in features if isinstance(frame.schema[each].dataType, NumericType)]
    whole = rows.agg(F.count("*").alias("rows"), F.countDistinct(label).alias("values")).collect()[0]
    if whole["values"] < 2:
        return []
    cells = _in_bins(rows, features, numeric, y, min(bins, max(2, whole["rows"] // 8)))
    if task == "classification":
        name, least, told = "balanced_accuracy", least_balanced_accuracy, _balanced_accuracies(cells, whole["values"])
    else:
        lines = _line_r2(rows, numeric, y)
        name, least, by_leaves = "r2", least_r2, _leaf_r2(rows, y, cells)
        told = {place: max(by_leaves[place], lines.get(each, 0.0)) for place, each in enumerate(features)}
    return [
        Finding(
            kind="determining_feature", columns=(feature,),
            evidence={name: told[place], "limit": least, "rows": whole["rows"]},
            sentence=f"{feature} alone tells {label}: {name} {told[place]:.4f}, limit {least}",
        )
        for place, feature in enumerate(features)
        if told[place] >= least
    ]  # fmt: skip


def functional_dependencies(
    frame: DataFrame, *, columns: Sequence[str], label: str, most_chance: float = 1e-6, least_repeats: float = 0.5
) -> list[Finding]:
    """Columns of which every value has one label, where values repeat so often that chance cannot do it.

    Chance is s^r: s is the probability that two rows share a label, r how many rows repeat a value seen before. r must
    also be ``least_repeats`` of the rows: an identifier has none, or a few where rows were delivered twice.
    """
    rows = frame.where(F.col(label).isNotNull())
    of_label = rows.groupBy(label).agg(F.count("*").cast("double").alias("n"))
    same = of_label.agg((F.sum(F.col("n") ** 2) / F.sum("n") ** 2).alias("same")).collect()[0]["same"]
    values = _long(rows, F.col(label), [_text(each) for each in columns]).groupBy("feature", "bin")
    found = (
        values.agg(F.count("*").alias("n"), (F.min("y") == F.max("y")).alias("has_one_label"))
        .groupBy("feature")
        .agg(
            F.every("has_one_label").alias("holds"), F.count("*").alias("values"),
            F.sum(F.col("n") - 1).alias("repeats"),
        )
        .where("holds")
    )  # fmt: skip
    return [
        Finding(
            kind="functional_dependency", columns=(columns[row["feature"]],),
            evidence={"values": row["values"], "repeats": row["repeats"]},
            sentence=f"every one of the {row['values']} values of {columns[row['feature']]} has one {label}, "
            f"with {row['repeats']} repeats",
        )
        for row in found.orderBy("feature").collect()
        if row["repeats"] >= least_repeats * (row["values"] + row["repeats"])
        and row["repeats"] * math.log(same) <= math.log(most_chance)
    ]  # fmt: skip


def _text(column: str) -> Column:
    return F.coalesce(F.col(column).cast("string"), F.lit(""))


def _line_r2(rows: DataFrame, features: Sequence[str], y: Column) -> dict[str, float]:
    """R2 of a straight line by feature, times the share of rows that have the feature; none where there is no line."""
    if not features:
        return {}
    numbers = {each: F.col(each).cast("double") for each in features}
    known = {each: F.when(~F.isnan(x), x) for each, x in numbers.items()}
    # Not F.corr: it divides by zero where a Spark partition is empty, which ANSI makes an error.
    both = {each: (F.when(y.isNotNull(), x), F.when(x.isNotNull(), y)) for each, x in known.items()}
    means = rows.agg(
        *[F.avg(x).alias(f"x_{n}") for n, (x, _) in enumerate(both.values())],
        *[F.avg(y_).alias(f"y_{n}") for n, (_, y_) in enumerate(both.values())],
        F.count("*").alias("rows"),
    ).collect()[0]
    sums: list[Column] = []
    for n, (x, y_) in enumerate(both.values()):
        dx, dy = x - F.lit(means[f"x_{n}"]), y_ - F.lit(means[f"y_{n}"])
        products = {"xy": dx * dy, "xx": dx * dx, "yy": dy * dy, "n": F.when(dx.isNotNull(), 1.0)}
        sums += [F.sum(product).alias(f"{name}_{n}") for name, product in products.items()]
    found = rows.agg(*sums).collect()[0]
    return {
        each: found[f"xy_{n}"] ** 2 / (found[f"xx_{n}"] * found[f"yy_{n}"]) * found[f"n_{n}"] / means["rows"]
        for n, each in enumerate(both)
        if found[f"xx_{n}"] and found[f"yy_{n}"]
    }


def _in_bins(rows: DataFrame, features: Sequence[str], numeric: Sequence[str], y: Column, bins: int) -> DataFrame:
    """``y, feature (its place), bin``, one row for each row and feature; numbers that are missing share a bin."""
    missing = F.lit(float("nan"))
    columns = {f"x{place}": each for place, each in enumerate(features)}
    values = rows.select(
        y.alias("y"),
        *[
            (F.coalesce(F.col(each).cast("double"), missing) if each in numeric else _text(each)).alias(name)
            for name, each in columns.items()
        ],
    )
    inputs = [name for name, each in columns.items() if each in numeric]
    if inputs:
        shares = [step / bins for step in range(bins + 1)]
        cuts = values.approxQuantile(inputs, shares, 1 / (4 * bins))
        splits = [sorted({-math.inf, *(each or [0.0]), math.inf}) for each in cuts]
        bucketizer = Bucketizer(
            splitsArray=splits, inputCols=inputs, outputCols=[f"b{name}" for name in inputs], handleInvalid="keep"
        )
        values = bucketizer.transform(values)
    return _long(values, F.col("y"), [F.col(f"b{name}" if name in inputs else name) for name in columns])


def _long(rows: DataFrame, y: Column, values: Sequence[Column]) -> DataFrame:
    texts = F.array(*[value.cast("string") for value in values])
    return rows.select(y.alias("y"), F.posexplode(texts).alias("feature", "bin"))


def _balanced_accuracies(cells: DataFrame, classes: int) -> dict[int, float]:
    """Balanced accuracy by feature; a leaf tells the class of which it holds the largest share of rows."""
    everything = Window.partitionBy("feature", "y").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    counts = cells.groupBy("feature", "bin", "y").agg(F.count("*").alias("n"))
    shares = counts.withColumn("of_class", F.sum("n").over(everything)).withColumn("share", F.expr("n / of_class"))
    leaves = shares.groupBy("feature", "bin").agg(
        F.sort_array(F.collect_list(F.struct("share", "y", "n", "of_class")), asc=False).alias("classes")
    )
    # A row is told its class if that still leads in its leaf without the row; only the leading class can.
    first, second = F.get("classes", F.lit(0)), F.coalesce(F.get("classes", F.lit(1))["share"], F.lit(0.0))
    still = (first["n"] - 1) / F.greatest(first["of_class"] - 1, F.lit(1)) > second
    told = leaves.select(
        "feature", first["y"].alias("y"), first["of_class"].alias("of_class"), F.when(still, first["n"]).alias("right")
    )
    recalls = told.groupBy("feature", "y").agg((F.sum("right") / F.max("of_class")).alias("recall"))
    found = recalls.groupBy("feature").agg(F.sum("recall").alias("recalls")).collect()
    return {row["feature"]: (row["recalls"] or 0.0) / classes for row in found}


def _leaf_r2(rows: DataFrame, y: Column, cells: DataFrame) -> dict[int, float]:
    """R2 by feature; a leaf tells the mean of its other rows, an only row is told the mean of all."""
    whole = rows.agg(F.avg(y).alias("mean"), (F.var_pop(y) * F.count(y)).alias("squares")).collect()[0]
    leaves = cells.groupBy("feature", "bin").agg(
        F.count("*").alias("n"), F.avg("y").alias("mean"), F.var_pop("y").alias("variance")
    )
    n = F.col("n")
    without_itself = F.col("variance") * n * (n / F.greatest(n - 1, F.lit(1))) ** 2
    squares = F.when(n > 1, without_itself).otherwise((F.col("mean") - whole["mean"]) ** 2)
    found = leaves.groupBy("feature").agg(F.sum(squares).alias("squares")).collect()
    return {row["feature"]: 1 - row["squares"] / whole["squares"] for row in found}
