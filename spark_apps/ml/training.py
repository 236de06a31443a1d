"""Fit candidates on one part of a snapshot and rate them, with everyone they must beat, on the other."""

from collections.abc import Callable

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm
from contracts.pipelines.features import RegularSeries
from contracts.pipelines.parts import FileSplit
from spark_apps.ml import algorithms, answers, audit, calibration, features, tuning
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.measuring import evidence, rating
from spark_apps.ml.splitting.splits import Bounds, FileBounds
from spark_apps.ml.trials import choices

#: Share of the holdout that may equal training rows by chance: people and parts that are alike exist.
MOST_SHARED = 0.05


def lacking_rows(split: Bounds | None, spec: PipelineSpec) -> str:
    """What is missing for a training that means something; empty where nothing is."""
    train, holdout = (split.train_rows, split.holdout_rows) if split else (0, 0)
    if train >= spec.split.min_train_rows and holdout >= spec.split.min_holdout_rows:
        return ""
    required = f"{spec.split.min_train_rows} and {spec.split.min_holdout_rows} are required"
    unfound = ""
    if isinstance(split, FileBounds) and isinstance(spec.split, FileSplit):
        sides = ((spec.split.train, split.train_files), (spec.split.holdout, split.holdout_files))
        unfound = "".join(f"; no file is called {pattern}" for pattern, files in sides if not files)
    return f"{train} rows to train on and {holdout} to judge on; {required}{unfound}"


def refuse_one_class(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> None:
    """Raise QualityGateError where one side of the split has nothing to tell apart."""
    for part, rows in (("train on", split.train(frame)), ("judge on", split.holdout(frame))):
        found = sorted((row[0] for row in rows.select(spec.label).distinct().limit(3).collect()), key=str)
        if found != [0, 1]:
            raise QualityGateError(
                f"Training {spec.name}", found=f"{spec.label} {' and '.join(map(str, found))} in the rows to {part}",
                required=f"rows of both classes, {spec.label} 0 and 1, on each side of the split",
                next_step="Look at the snapshot's verdict and at the files that were ingested.",
            )  # fmt: skip


def refuse_leaks(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> None:
    """Raise QualityGateError where a feature tells the label, the label was copied, or holdout rows are known."""
    train, columns = split.train(frame), spec.features.columns
    task: audit.Task = "classification" if spec.task == "classification" else "regression"
    findings = audit.before_training(train, features=columns, label=spec.label, task=task)
    if isinstance(spec.features, RegularSeries):
        findings += _copied_averages(train, spec, spec.features)
    if isinstance(split, FileBounds):
        shared = audit.shared_rows(train, split.holdout(frame), columns=columns, label=spec.label)
        findings += [each for each in shared if each.evidence["rows"] > MOST_SHARED * split.holdout_rows]
    audit.refuse(f"Training {spec.name}", findings)


def _copied_averages(train: DataFrame, spec: PipelineSpec, series: RegularSeries) -> list[audit.Finding]:
    """Whether the label is an average of its month that was copied to every like weekday and time of the day."""
    at = F.col(series.at)
    month, weekday = F.date_trunc("month", at), F.weekday(at)
    time = F.date_format(at, "HH:mm")
    placed = train.withColumns({"its_month": month, "its_weekday": weekday, "its_time": time})
    return audit.repeated_target(
        placed, label=spec.label, period=["its_month"], within=[series.group, "its_weekday", "its_time"]
    )


def fit_and_rate(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> Fitted:
    """Choose and fit on ``split.train`` only, then rate on all rows of ``split.holdout``; ``frame`` is a snapshot.

    Which algorithm becomes the candidate is decided on folds of the training part; the others, and the candidate before
    its calibration, are rated on the holdout too, for people to see.
    """
    train = split.train(frame)
    if spec.task == "classification":
        refuse_one_class(frame, split, spec)
    refuse_leaks(frame, split, spec)
    columns = features.model_columns(spec, split.train_rows)
    trials = tuning.search(train, spec, columns) if spec.search else []
    chosen = choices(trials, spec)
    named: dict[str, Algorithm] = {algorithm.name: algorithm for algorithm in spec.algorithms}
    models = {name: algorithms.fit(train, spec, columns, named[name], how) for name, how in chosen.items()}
    winner = next(iter(models))
    candidate = models[winner]
    if spec.calibration:

        def fit(part: DataFrame) -> PipelineModel:
            return algorithms.fit(part, spec, columns, named[winner], chosen[winner])

        candidate = _calibrated(candidate, train, fit, spec)
    others = {name: model for name, model in models.items() if model is not candidate}
    judged = rating.judge(train, split.holdout(frame), {**others, CANDIDATE: candidate}, spec)
    shown = evidence.of(judged.answers, rating.column_of(CANDIDATE), spec)
    return Fitted(candidate, columns, judged.measures(), winner, chosen[winner], trials, shown)


def _calibrated(
    model: PipelineModel, train: DataFrame, fit: Callable[[DataFrame], PipelineModel], spec: PipelineSpec
) -> PipelineModel:
    """The model with a calibrator from out-of-fold answers of models that are fitted like it."""
    if spec.calibration is None:
        raise ValueError(f"{spec.name} says nothing about calibration")
    number = F.xxhash64(F.lit(spec.seed), *spec.key)
    # Counted, then fitted on: without it every fold would be scored for each.
    scores = calibration.out_of_fold(train, fit, number=number, folds=spec.calibration.folds).persist()
    try:
        calibrator = calibration.fit(scores, label=spec.label, score="score", method=spec.calibration.method)
    except ValueError as error:
        raise QualityGateError(
            f"Calibrating {spec.name}", found=str(error), required="scores of rows of both classes that rank them",
            next_step="Look at the features: a model that has learned nothing cannot be calibrated.",
        ) from error  # fmt: skip
    finally:
        scores.unpersist()
    return answers.calibrated(model, calibrator, train.sparkSession)
