"""Two years of real rows, cut into what was known before and what lands window by window."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.loop import events
from benchmarks.loop.events import FLOW, Event, Frame
from contracts import pipelines
from contracts.landed_files import HIGGS_FEATURES
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Xgboost
from contracts.pipelines.drift import DriftPolicy
from contracts.pipelines.parts import RandomSplit, TimeSplit
from contracts.settings import REPOSITORY
from spark_apps.ml import features

SAMPLES = REPOSITORY / "samples"
_KNOWN_COLLISIONS, _COLLISIONS = 4000, 700
_WEEK = 7 * 96
_SEED = 11


class Year(NamedTuple):
    """``known`` lands before the first window; ``windows`` are rows in the publisher's columns, events not yet planted.

    ``losses`` are those by which a champion is measured on the true rows of a window, by their name in `Measures`;
    the first is the gate's.
    """

    name: str
    about: str
    subject: str
    spec: PipelineSpec
    preamble: str
    known: Frame
    windows: list[Frame]
    events: list[Event]
    losses: tuple[str, ...]
    window_hours: float
    #: Where drift is checked, the schedule alone trains at every so many windows.
    scheduled_every: int

    def true_features(self, spark: SparkSession, folder: Path) -> DataFrame:
        """Rows of all windows with the spec's features, as the world made them; ``window`` says which."""
        return _TRUE[self.name](self, spark, folder)


def collisions() -> Year:
    """HIGGS: 4,000 collisions are known, 24 files of 700 follow, two a month."""
    drawn = _csv("higgs/higgs_random_10984_labelled_last.csv.gz")
    rounded = _csv("higgs/higgs_rows_0_9999_rounded.csv.gz")
    rounded.columns = ["label", *drawn.columns[:-1]]
    rows = pd.concat([drawn, rounded[drawn.columns]], ignore_index=True)
    rows = rows.iloc[np.random.default_rng(_SEED).permutation(len(rows))].reset_index(drop=True)
    later = rows[_KNOWN_COLLISIONS:]
    spec = pipelines.load("higgs")
    policy = DriftPolicy(
        cron="0 4 1,15 * *", min_rows=300, window_files=1, train_on="since_drift", cool_down_hours=24 * 10
    )
    # Mild: 490 rows, after a drift, must not be learned by heart.
    fitted = Xgboost(
        name="xgboost", n_estimators=100, max_depth=4, learning_rate=0.06, subsample=0.7, min_child_weight=8,
        reg_lambda=10,
    )  # fmt: skip
    split = RandomSplit(kind="random", holdout_fraction=0.3, min_train_rows=180, min_holdout_rows=70)
    light = {
        "algorithms": (fitted,), "search": None, "calibration": None, "split": split, "drift": policy,
        "gate": spec.gate.model_copy(update={"min_skill": 0.1}),
    }  # fmt: skip
    windows = [later[n : n + _COLLISIONS] for n in range(0, len(later) - _COLLISIONS + 1, _COLLISIONS)]
    return Year(
        name="higgs", about="24 half-monthly files of HIGGS", subject="higgs", spec=spec.model_copy(update=light),
        preamble="", known=rows[:_KNOWN_COLLISIONS], windows=windows, events=events.of_collisions(),
        losses=("roc_auc", "log_loss"), window_hours=365 * 24 / len(windows), scheduled_every=2,
    )  # fmt: skip


def traffic() -> Year:
    """The A40 between A4137 and A49: 2010 is known, the 52 weeks of 2011 follow."""
    known, later = _csv("uk_traffic/a40_2010.csv.gz", skip=3), _csv("uk_traffic/a40_2011.csv.gz", skip=3)
    spec = pipelines.load("uk_traffic")
    policy = spec.drift and spec.drift.model_copy(update={"cool_down_hours": 24 * 27.0})
    fitted = Xgboost(name="xgboost", n_estimators=150, max_depth=5, learning_rate=0.08, subsample=0.8)
    split = TimeSplit(kind="group_time", holdout_fraction=0.1, min_train_rows=2688, min_holdout_rows=672)
    # The quiet road of one site: persistence is nearly as good as anything.
    gate = spec.gate.model_copy(update={"min_skill": 0.05})
    light = {"algorithms": (fitted,), "search": None, "split": split, "drift": policy, "gate": gate}
    preamble = gzip.decompress((SAMPLES / "uk_traffic/a40_2011.csv.gz").read_bytes()).decode().split("\n")[:3]
    windows = [later[n : n + _WEEK] for n in range(0, len(later) - _WEEK + 1, _WEEK)]
    return Year(
        name="uk_traffic", about="52 weeks of the A40 between A4137 and A49, 2011", subject="traffic_counts",
        spec=spec.model_copy(update=light), preamble="\n".join(preamble) + "\n", known=known, windows=windows,
        events=events.of_traffic(), losses=("mae",), window_hours=7 * 24.0, scheduled_every=4,
    )  # fmt: skip


YEARS = {"higgs": collisions, "uk_traffic": traffic}


def _csv(name: str, skip: int = 0) -> Frame:
    found = pd.read_csv(SAMPLES / name, skiprows=skip, skipinitialspace=True)
    kept = found.loc[:, [not column.startswith("Unnamed") for column in found.columns]]
    return kept.rename(columns=str.strip).dropna(how="all").reset_index(drop=True)


def _true_windows(year: Year) -> list[Frame]:
    return [events.true_rows(rows, year.events, n) for n, rows in enumerate(year.windows, start=1)]


def _true_collisions(year: Year, spark: SparkSession, folder: Path) -> DataFrame:
    parts = [rows.assign(window=n) for n, rows in enumerate(_true_windows(year), start=1)]
    frame = pd.concat(parts)
    frame.columns = [column.lower() for column in frame.columns]
    columns = [*HIGGS_FEATURES, "label", "window"]
    return _stored(spark.createDataFrame(frame[columns].astype({"label": float})), folder)


def _true_traffic(year: Year, spark: SparkSession, folder: Path) -> DataFrame:
    parts = [year.known.assign(window=0)]
    parts += [rows.assign(window=n) for n, rows in enumerate(_true_windows(year), start=1)]
    frame = pd.concat(parts)
    at = pd.to_datetime(frame["Local Date"] + " " + frame["Local Time"], dayfirst=True)
    rows = pd.DataFrame({"site": "30013683", "starts_at": at, "flow": frame[FLOW], "window": frame["window"]})
    asked = spark.createDataFrame(rows).withColumn("starts_at", F.col("starts_at").cast("timestamp"))
    built = features.trainable(features.build(asked.drop("window"), year.spec), year.spec)
    return _stored(built.join(asked.select("starts_at", "window"), on="starts_at", how="inner"), folder)


def _stored(frame: DataFrame, folder: Path) -> DataFrame:
    """Read once a window and champion, so it is computed once."""
    path = str(folder / "true_features")
    frame.write.partitionBy("window").parquet(path)
    return frame.sparkSession.read.parquet(path)


_TRUE = {"higgs": _true_collisions, "uk_traffic": _true_traffic}
