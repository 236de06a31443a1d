"""A study of owners on the cluster: rows are loaded once at their owners, and everything is trained there and timed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines.study import StudySpec
from spark_apps.io import side_by_side
from spark_apps.ml.partitioned import balance, contest, federated, models
from spark_apps.ml.partitioned.owners import IS_HOLDOUT, LABEL, OWNER, owned

#: Fewer rows of a class at an owner than this make no holdout to speak of.
_LEAST_ROWS = 100

Parts = dict[str, DataFrame]
#: The encoder that all owners agreed on, and the model of encoded rows.
Shared = tuple[PipelineModel, federated.Model]


def require_rows(rows: DataFrame, spec: StudySpec) -> None:
    """A QualityGateError where a class of the study is missing, or has too few rows to be shared out."""
    found = {row[spec.label]: row["count"] for row in rows.groupBy(spec.label).count().collect()}
    if any(found.get(name, 0) < _LEAST_ROWS for name in spec.classes) or set(found) - set(spec.classes):
        raise QualityGateError(
            f"Studying {spec.name}", found=f"rows by {spec.label}: {found}",
            required=f"{_LEAST_ROWS} rows or more of each of {', '.join(spec.classes)}, and no other",
            next_step=f"Ingest the whole file into {spec.dataset}, or correct classes in pipelines/studies/.",
        )  # fmt: skip


def whole(spark: SparkSession, rows: DataFrame, spec: StudySpec) -> dict[str, Any]:
    """Every repeat of every setting, and the summary; ``settings`` says who owned how many rows."""
    measured: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    for owners in spec.owners:
        for repeat in range(spec.repeats):
            cut = owned(rows, spec, owners, seed=spec.seed + repeat).cache()
            counted = cut.groupBy(OWNER, IS_HOLDOUT, spec.label).count().collect()
            settings.append({"owners": owners.name, "repeat": repeat, "rows": [row.asDict() for row in counted]})
            with side_by_side.kept_apart(spark, cut.where(f"NOT {IS_HOLDOUT}"), OWNER, owners.owners) as parts:
                for name in spec.column_sets():
                    told = {"owners": owners.name, "columns": name, "repeat": repeat}
                    measured += [told | row for row in _compared(spark, parts, cut.where(IS_HOLDOUT), spec, told)]
            cut.unpersist()
    share = spec.holdout_share
    spreads = balance.spreads(rows, spec.repartition_by, len(spec.owners[0].owners))
    return {
        "measured": measured, "settings": settings, "summary": contest.summary(measured, test_share=share),
        "balance": {
            name: [row.asDict() for row in balance.of(spread, spec.repartition_by).collect()]
            for name, spread in spreads.items()
        },
    }  # fmt: skip


def cold(spark: SparkSession, rows: DataFrame, spec: StudySpec, what: str) -> float:
    """Seconds of one training on all columns, when it is the first that this process does; loading is not counted."""
    owners = spec.owners[0]
    cut = owned(rows, spec, owners, seed=spec.seed).cache()
    columns = spec.column_sets()["all"]
    with side_by_side.kept_apart(spark, cut.where(f"NOT {IS_HOLDOUT}"), OWNER, owners.owners) as parts:
        train = _everybody if what == contest.GLOBAL else _nodes
        _, seconds = train(spark, parts, columns, spec, group="cold")
    return seconds


def _compared(
    spark: SparkSession, parts: Parts, holdout: DataFrame, spec: StudySpec, told: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row for each contender: measures on the holdout, and seconds of training where it was trained."""
    columns, group = spec.column_sets()[told["columns"]], "/".join(str(value) for value in told.values())
    everybody, global_s = _everybody(spark, parts, columns, spec, group=group)
    nodes, nodes_s = _nodes(spark, parts, columns, spec, group=group)
    shared, federated_s = _federated(spark, parts, columns, spec, group=group)
    known = holdout.orderBy(*spec.key).select(OWNER, LABEL).collect()
    labels = np.array([int(row[LABEL]) for row in known])
    answers = {
        contest.GLOBAL: models.probabilities(everybody, holdout, spec),
        contest.FEDERATED: _answers(shared, holdout, spec),
    }
    of_nodes = {owner: models.probabilities(model, holdout, spec) for owner, model in nodes.items()}
    found = contest.judge(labels, np.array([row[OWNER] for row in known]), answers, of_nodes)
    shares = np.bincount(labels, minlength=len(spec.classes)) / len(labels)
    found |= contest.guesses(labels, shares, spec.seed + told["repeat"])
    seconds = {
        contest.GLOBAL: global_s, contest.EACH: nodes_s, contest.VOTE: nodes_s, contest.OWN: nodes_s,
        contest.FEDERATED: federated_s,
    }  # fmt: skip
    python = {contest.FEDERATED: {"python_cpu_s": shared[1].cpu_s}}
    return [
        {"contender": name, **measures, "seconds": seconds.get(name), **python.get(name, {})}
        for name, measures in found.items()
    ]


def _everybody(
    spark: SparkSession, parts: Parts, columns: tuple[str, ...], spec: StudySpec, *, group: str
) -> tuple[PipelineModel, float]:
    union = _union(parts)
    found, seconds = side_by_side.at_once(
        spark, {contest.GLOBAL: lambda: models.fit(union, columns, spec)}, group=group
    )
    return found[contest.GLOBAL], seconds


def _nodes(
    spark: SparkSession, parts: Parts, columns: tuple[str, ...], spec: StudySpec, *, group: str
) -> tuple[dict[str, PipelineModel], float]:
    def fit(part: DataFrame) -> Callable[[], PipelineModel]:
        return lambda: models.fit(part, columns, spec)

    return side_by_side.at_once(spark, {owner: fit(part) for owner, part in parts.items()}, group=group)


def _federated(
    spark: SparkSession, parts: Parts, columns: tuple[str, ...], spec: StudySpec, *, group: str
) -> tuple[Shared, float]:
    """Owners agree on the categories' places first (the encoder is fitted on all of them), then only weights travel."""

    def train() -> Shared:
        union = _union(parts)
        encoder = Pipeline(stages=models.encoder(columns, spec)).fit(union)
        encoded = _encoded(encoder, union).select("features", F.col(LABEL).cast("int").alias("label")).cache()
        try:
            model = federated.train(
                encoded, spec.federated, n_classes=len(spec.classes), reg_param=spec.reg_param
            )  # fmt: skip
        finally:
            encoded.unpersist()
        return encoder, model

    found, seconds = side_by_side.at_once(spark, {contest.FEDERATED: train}, group=group)
    return found[contest.FEDERATED], seconds


def _answers(shared: Shared, holdout: DataFrame, spec: StudySpec) -> models.Probabilities:
    encoder, model = shared
    rows = _encoded(encoder, holdout).orderBy(*spec.key).select("features").collect()
    found: models.Probabilities = model.probabilities(np.array([row["features"] for row in rows]))
    return found


def _encoded(encoder: PipelineModel, rows: DataFrame) -> DataFrame:
    return encoder.transform(rows).withColumn("features", vector_to_array(F.col(models.FEATURES)))


def _union(parts: Parts) -> DataFrame:
    first, *others = parts.values()
    for other in others:
        first = first.unionAll(other)
    return first
