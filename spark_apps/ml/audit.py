"""Reasons to doubt a training before it begins: leaks of the label, of the holdout, and of the future.

Every check returns findings, none where nothing was found; ``refuse`` makes an error of them. Numbers alone leave the
cluster, except for the probe of ``early_fits``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from pyspark.ml import Transformer
from pyspark.ml.feature import Bucketizer
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, FractionalType, NumericType, StringType

from contracts.errors import QualityGateError
from spark_apps.ml import twins

Kind = Literal[
    "determining_feature", "functional_dependency", "shared_rows", "near_duplicates", "time_travel", "look_ahead",
    "repeated_target", "early_fit",
]  # fmt: skip
Task = Literal["classification", "regression"]

#: A label of more distinct values than this is a quantity to ``early_fits``, below it is a class.
MOST_CLASSES = 20
#: Factor by which ``early_fits`` makes the numbers of the holdout strange.
STRANGE = 1000.0


class Finding(BaseModel):
    """One reason to doubt: the columns it is about, the numbers it rests on, and a sentence for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Kind
    columns: tuple[str, ...]
    evidence: dict[str, float]
    sentence: str


def before_training(frame: DataFrame, *, features: Sequence[str], label: str, task: Task) -> list[Finding]:
    """What one table shows by itself: determining features, and dependencies of columns that are not fractional."""
    fractional = {field.name for field in frame.schema.fields if isinstance(field.dataType, FractionalType)}
    discrete = [each for each in features if each not in fractional]
    return [
        *determining_features(frame, features=features, label=label, task=task),
        *(functional_dependencies(frame, columns=discrete, label=label) if discrete else []),
    ]


def refuse(attempted: str, findings: Sequence[Finding]) -> None:
    """Raise QualityGateError where there are findings, with the sentences of all of them."""
    if findings:
        raise QualityGateError(
            attempted, found="; ".join(finding.sentence for finding in findings), required="data without such leaks",
            next_step="Drop the columns or rows that are named, or fit on the training rows only; then train again.",
        )  # fmt: skip


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


def shared_rows(
    train: DataFrame, holdout: DataFrame, *, columns: Sequence[str], label: str | None = None
) -> list[Finding]:
    """Holdout rows whose ``columns`` all occur, equal to the last bit, in one training row; nulls are equal."""
    known = train.groupBy(*[F.col(each).alias(f"_t{place}") for place, each in enumerate(columns)]).agg(
        (F.collect_set(label) if label else F.count("*")).alias("_labels")
    )
    equal = [F.col(each).eqNullSafe(F.col(f"_t{place}")) for place, each in enumerate(columns)]
    agrees = F.array_contains("_labels", F.col(label)) if label else F.lit(None)
    return _duplicates(
        "shared_rows", holdout.join(known, on=equal, how="inner").select(agrees.alias("agrees")), columns
    )


def near_duplicates(
    train: DataFrame,
    holdout: DataFrame,
    *,
    columns: Sequence[str],
    tolerance: float,
    label: str | None = None,
    bucket_by: Sequence[str] = (),
) -> list[Finding]:
    """Holdout rows of which every column is less than ``tolerance`` away from that of one training row (``twins``).

    For rows that were rounded, or copied with noise.
    """
    found = twins.pairs(
        train, holdout, columns=columns, distance=tolerance, bucket_by=bucket_by, keep=[label] if label else []
    )
    agrees = F.max(F.col(label).eqNullSafe(F.col(f"known_{label}"))) if label else F.lit(None)
    return _duplicates("near_duplicates", found.groupBy(twins.ROW).agg(agrees.alias("agrees")), columns)


def time_travel(train: DataFrame, holdout: DataFrame, *, at: str, group: Sequence[str] = ()) -> list[Finding]:
    """Training rows at or after the first instant of the holdout; of the holdout of their group, if groups are given.

    A model that was fitted on them is asked for a past whose future it knows.
    """
    groups = [F.col(each).alias(f"_{each}") for each in group]
    first = holdout.groupBy(*groups).agg(F.min(at).alias("_first"))
    late = [F.col(each).eqNullSafe(F.col(f"_{each}")) for each in group] + [F.col(at) >= F.col("_first")]
    rows = train.join(first, on=late, how="inner").count()
    if not rows:
        return []
    each_group = f" of their {', '.join(group)}" if group else ""
    return [
        Finding(
            kind="time_travel", columns=(at, *group), evidence={"rows": rows},
            sentence=f"{rows} training rows lie at or after the first holdout instant{each_group}, by {at}",
        )
    ]  # fmt: skip


def looking_ahead(
    rows: DataFrame,
    make: Callable[[DataFrame], DataFrame],
    *,
    at: str,
    cut: Column,
    key: Sequence[str],
    disturb: Sequence[str],
    columns: Sequence[str],
) -> list[Finding]:
    """Feature ``columns`` of rows up to ``cut`` that change when only ``disturb`` of rows from ``cut`` on does.

    ``make`` builds features from rows; its result has ``key`` (unique, not null) and ``at``. ``disturb`` are numeric
    columns whose own row a feature must not see, such as the target: a window that ends with its own row is found, not
    only one that goes beyond. (``leakage.columns_looking_ahead`` is for features that count rows.)
    """
    types = dict(rows.dtypes)
    changed = {c: F.when(F.col(at) >= cut, _strange(c, types[c])).otherwise(F.col(c)) for c in disturb}
    before = make(rows).where(F.col(at) <= cut).select(*key, *columns)
    after = make(rows.withColumns(changed)).where(F.col(at) <= cut)
    after = after.select(*key, *[F.col(each).alias(f"_{each}") for each in columns])
    counts = [F.count_if(~F.col(each).eqNullSafe(F.col(f"_{each}"))).alias(each) for each in columns]
    found = before.join(after, on=list(key), how="full").agg(*counts).collect()[0]
    return [
        Finding(
            kind="look_ahead", columns=(each,), evidence={"rows": found[each]},
            sentence=f"{each} of {found[each]} rows depends on {', '.join(disturb)} of the same or a later instant",
        )
        for each in columns
        if found[each]
    ]  # fmt: skip


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


def early_fits(
    rows: DataFrame,
    fit: Callable[[DataFrame], Transformer],
    *,
    features: Sequence[str],
    label: str,
    is_holdout: str = "is_holdout",
    probe_rows: int = 100,
    tolerance: float = 1e-12,
) -> list[Finding]:
    """Was anything (scaler, encoder, selector, imputer, SMOTE, model) fitted on holdout rows? Tried, not read.

    ``fit`` gets all rows and must itself keep to those that are not ``is_holdout``. It is called again with a strange
    holdout, in two ways (see ``_strange_holdouts``); no output of the fitted Transformer may then change by more than
    ``tolerance`` on ``probe_rows`` training rows. Every column that it adds counts, so leave those in that hold what
    was prepared: a model can undo a scaling. ``features`` are numbers, text or booleans. Costs three fits; ValueError
    where two fits on the same rows differ already.
    """
    probe = _probe(rows.where(~F.col(is_holdout)), features, probe_rows)
    expected = _outputs(fit(rows), probe)
    for how, strange in _strange_holdouts(rows, features, label, is_holdout).items():
        changed = _changed(expected, _outputs(fit(strange), probe), tolerance)
        if not changed:
            continue
        if _changed(expected, _outputs(fit(rows), probe), tolerance):
            raise ValueError("two fits on the same rows differ; give every stage a seed, then audit again")
        names = ", ".join(changed)
        return [
            Finding(
                kind="early_fit", columns=tuple(changed), evidence=changed,
                sentence=f"{names} of training rows changes when holdout rows do ({how}): something was fitted on them",
            )
        ]  # fmt: skip
    return []


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


def _duplicates(
    kind: Literal["shared_rows", "near_duplicates"], pairs: DataFrame, columns: Sequence[str]
) -> list[Finding]:
    """``pairs`` has a row for each holdout row that was found, with ``agrees`` (null where no label was given)."""
    found = pairs.agg(F.count("*").alias("rows"), F.sum(F.col("agrees").cast("int")).alias("agrees")).collect()[0]
    if not found["rows"]:
        return []
    evidence = {"rows": found["rows"]}
    if found["agrees"] is not None:
        evidence["label_agrees"] = found["agrees"]
    how = "equal" if kind == "shared_rows" else "nearly equal"
    sentence = f"{found['rows']} holdout rows are {how} to training rows in all of {len(columns)} columns"
    return [Finding(kind=kind, columns=tuple(columns), evidence=evidence, sentence=sentence)]


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


def _strange(column: str, type_: str) -> Column:
    """Another number of the same type; a whole number that then does not fit is null."""
    return (F.col(column).cast("double") * STRANGE + 1).try_cast(type_)


def _strange_holdouts(rows: DataFrame, features: Sequence[str], label: str, is_holdout: str) -> dict[str, DataFrame]:
    """The same training rows beside two holdouts that no honest fit can see; all their labels are others.

    In the first the even features tell the label exactly, as large numbers and texts never seen, and the odd ones are
    constant; in the second the other way round. Either moves whatever counts, averages or spreads, and one of them
    changes any choice of features.
    """
    types = {field.name: field.dataType for field in rows.schema.fields}
    unknown = [each for each in features if not isinstance(types[each], NumericType | StringType | BooleanType)]
    if unknown:
        raise ValueError(f"features must be numbers, text or booleans; {', '.join(unknown)} is not")
    other_label, its_place = _other_labels(rows, label, is_text=isinstance(types[label], StringType))

    def told(feature: str, place: Column) -> Column:
        if isinstance(types[feature], NumericType):
            return (place * STRANGE).try_cast(types[feature])
        if isinstance(types[feature], BooleanType):
            return place % 2 == 1
        return F.concat(F.lit("is "), place.cast("string"))

    def holdout(parity: int) -> DataFrame:
        places = [its_place if number % 2 == parity else F.lit(0.0) for number, _ in enumerate(features)]
        new = {each: told(each, place) for each, place in zip(features, places, strict=True)} | {label: other_label}
        return rows.withColumns(
            {c: F.when(F.col(is_holdout), each).otherwise(F.col(c)).cast(types[c]) for c, each in new.items()}
        )

    return {"even features tell the label": holdout(0), "odd features tell the label": holdout(1)}


def _other_labels(rows: DataFrame, label: str, *, is_text: bool) -> tuple[Column, Column]:
    """Another label for each row (the next class, or a strange number), and its place among the labels, from 1."""
    distinct = rows.select(label).where(F.col(label).isNotNull()).distinct()
    classes = sorted(row[0] for row in distinct.limit(MOST_CLASSES + 1).collect())
    if len(classes) < 2:
        raise ValueError(f"{label} has {len(classes)} values; what does not vary cannot leak")
    if len(classes) > MOST_CLASSES and not is_text:
        other = F.abs(F.col(label).cast("double")) * STRANGE + 1
        return other, other
    literals = F.array(*[F.lit(each).cast(rows.schema[label].dataType) for each in classes])
    place = F.coalesce(F.array_position(literals, F.col(label)), F.lit(0)) % len(classes) + 1
    return F.element_at(literals, place.cast("int")), place.cast("double")


def _probe(train: DataFrame, features: Sequence[str], rows: int) -> DataFrame:
    chosen = train.orderBy(F.xxhash64(*features)).limit(rows).collect()
    if not chosen:
        raise ValueError("there are no training rows to fit on")
    return train.sparkSession.createDataFrame(chosen, train.schema)


def _outputs(model: Transformer, probe: DataFrame) -> dict[str, list[Any]]:
    """What the model adds to each row of the probe, by column."""
    made = model.transform(probe)
    added = [column for column in made.columns if column not in probe.columns]
    found = made.select(*added).collect()
    return {column: [row[column] for row in found] for column in added}


def _changed(expected: Mapping[str, list[Any]], told: Mapping[str, list[Any]], tolerance: float) -> dict[str, float]:
    """Largest difference by output column, of those beyond ``tolerance``; infinite where the shapes differ."""
    differences = {
        column: _difference(expected.get(column, []), told.get(column, [])) for column in {**expected, **told}
    }
    return {column: each for column, each in differences.items() if each > tolerance}


def _difference(expected: Sequence[Any], told: Sequence[Any]) -> float:
    if len(expected) != len(told):
        return math.inf
    return max((_cell_difference(a, b) for a, b in zip(expected, told, strict=True)), default=0.0)


def _cell_difference(expected: Any, told: Any) -> float:  # noqa: ANN401 - numbers, text, vectors, whatever a model adds
    try:
        a, b = (np.atleast_1d(np.asarray(_plain(each), dtype=np.float64)) for each in (expected, told))
    except (TypeError, ValueError):  # no numbers
        return 0.0 if expected == told else math.inf
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return math.inf
    return float(np.nanmax(np.abs(a - b), initial=0.0))


def _plain(cell: Any) -> Any:  # noqa: ANN401 - see above
    return cell.toArray() if hasattr(cell, "toArray") else cell
