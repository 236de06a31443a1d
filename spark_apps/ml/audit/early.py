"""Was anything fitted before the rows were split? Tried, not read."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.ml import Transformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, NumericType, StringType

from spark_apps.ml.audit import strange
from spark_apps.ml.audit.findings import Finding

#: A label of more distinct values than this is a quantity, below it is a class.
MOST_CLASSES = 20


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
    for how, holdout in _strange_holdouts(rows, features, label, is_holdout).items():
        changed = _changed(expected, _outputs(fit(holdout), probe), tolerance)
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
            return (place * strange.FACTOR).try_cast(types[feature])
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
        other = F.abs(F.col(label).cast("double")) * strange.FACTOR + 1
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
