"""Bad challengers, trained or bent on real rows: each is refused for what is wrong with it, and good ones pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from contracts import pipelines
from contracts.pipelines.algorithms import LinearRegression, LogisticRegression, RandomForest
from spark_apps.ml import calibration
from spark_apps.ml.splitting import splits
from spark_apps.ml.splitting.splits import FileBounds
from tests.unit.ml import planting
from tests.unit.ml.planting import Challenger, Ground

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from spark_apps.ml.choosing import Choice

pytestmark = pytest.mark.spark

LOGISTIC = LogisticRegression(name="logistic_regression")
FOREST = RandomForest(name="random_forest", num_trees=30, max_depth=7, max_bins=64)
LINEAR = LinearRegression(name="linear_regression")
ROWS = 3000
LOGIT = "ln({p} / (1 - {p}))"
#: A millisecond a row that changes nothing: seconds, where all of the champion's answers are a few tenths.
WAITS = " + if(reflect('java.lang.Thread', 'sleep', 1L) IS NULL, 0, 0)"

#: What is wrong with each classifier, and what the reason must say of it.
COLLISIONS = {
    "was told the label": "too good to be true",
    "was told two labels of three": "too good to be true",
    "knows the holdout by heart": "too good to be true",
    "trained on the holdout, as its record says": "Version 2 was trained on 1 of the holdout's files.",
    "trained on another snapshot": "Version 2 was trained on snapshot features.planted/other, not on",
    "reads a column that is not here": "not all of which are here",
    "reads angles only": "less than the required 20.0%",
    "says the same of everybody": "a skill of 0.0%, less than the required 20.0%",
    "trained on labels the wrong way round": "less than the required 20.0%",
    "trained on shuffled labels": "less than the required 20.0%",
    "trained in another unit": "less than the required 20.0%",
    "mixed up its columns": "less than the required 20.0%",
    "votes that nobody calibrated": "its probabilities do not mean what they say",
    "too sure": "its probabilities do not mean what they say",
    "too timid": "its probabilities do not mean what they say",
    "trained on another share of signal": "its probabilities do not mean what they say",
    "says yes or no": "its probabilities do not mean what they say",
    "the champion again": "a gain of 0.0% over champion 1",
    "forgot columns": "less than the required 1.0%",
    "the wrong way round in one region": "region=forward would pay for it",
    "underrates one region": "region=forward would pay for it",
    "slow": "it is too slow",
}
#: The same of each forecaster.
QUARTERS = {
    "was told the quarter": "too good to be true",
    "repeats the last quarter": "a skill of 0.0%, less than the required 5.0%",
    "counts by the hour": "less than the required 5.0%",
    "sees yesterday only": "less than the required 5.0%",
    "never more than the usual": "less than the required 5.0%",
    "bad at one site": "site=1129 would pay for it",
    "trained on the last days": "Version 2 was trained on rows of the holdout of 1009, 11, 1129.",
    "slow": "it is too slow",
}


@pytest.fixture(scope="module")
def ground(_spark_session, samples) -> Ground:
    """HIGGS with a gate that a model of so few rows can pass, and that also asks about the region."""
    shipped = pipelines.load("higgs")
    gate = shipped.gate.model_copy(update={"min_skill": 0.2, "max_subgroup_growth": 0.1, "max_cost_ratio": 6})
    changes = {"gate": gate, "calibration": None, "search": None, "subgroups": ("region",)}
    spec = shipped.model_copy(update=changes)
    frame = planting.collisions(_spark_session, samples, spec, ROWS).coalesce(2)
    # The label with some noise, all of it and where the line number says so.
    told = F.col("label") + (F.pmod(F.xxhash64("source_line"), F.lit(100)) - 50) / 100
    some = F.when(F.col("source_line") % 3 == 0, 0.5).otherwise(told)
    split = FileBounds(
        train_files=("a",), holdout_files=("b",), left_out=(), train_rows=ROWS, holdout_rows=ROWS
    )  # fmt: skip
    return Ground(spec, frame.withColumns({"told": told, "half": some}).cache(), split, spec.features.columns)


@pytest.fixture(scope="module")
def calibrated(ground):
    """The forest, and the correction of its probabilities as SQL of ``{p}``."""

    def fit(rows: DataFrame):
        return ground.fit(rows, FOREST)

    scores = calibration.out_of_fold(ground.train, fit, number=F.col("source_line"), folds=2).cache()
    platt = calibration.fit(scores, label="label", score="score", method="platt")
    return fit(ground.train), f"(1 / (1 + exp(-({platt.slope} * {LOGIT} + {platt.intercept}))))"


def bad_classifiers(ground: Ground, forest, right: str) -> dict[str, Challenger]:
    spark, train, columns = ground.frame.sparkSession, ground.train, ground.columns

    def says(said: str) -> Challenger:
        return Challenger(planting.probability(forest, said.replace("{p}", right), spark))

    def learns(rows: DataFrame, columns: list[str] | None = None) -> Challenger:
        return Challenger(ground.fit(rows, LOGISTIC, columns))

    deep = FOREST.model_copy(update={"max_depth": 20})
    both = ground.split.model_copy(update={"train_files": ("a", "b")})
    by_heart = ground.fit(ground.holdout, deep)
    mixed = {name: F.col(other) for name, other in zip(columns, columns[::-1], strict=True)}
    return {
        "was told the label": learns(train, [*columns, "told"]),
        "was told two labels of three": learns(train, [*columns, "half"]),
        "knows the holdout by heart": Challenger(by_heart),
        "trained on the holdout, as its record says": Challenger(by_heart, split=both),
        "trained on another snapshot": Challenger(forest, snapshot="features.planted/other"),
        "reads a column that is not here": Challenger(None),
        "reads angles only": learns(train, ["lepton_phi", "missing_energy_phi", "jet_1_phi"]),
        "says the same of everybody": says("0.53D"),
        "trained on labels the wrong way round": learns(train.withColumn("label", 1 - F.col("label"))),
        "trained on shuffled labels": learns(train.withColumn("label", F.pmod(F.xxhash64("source_line"), F.lit(2)))),
        "trained in another unit": Challenger(
            ground.fit(train.withColumns({name: F.col(name) * 1000 for name in columns}), FOREST)
        ),
        "mixed up its columns": learns(train.withColumns(mixed)),
        "votes that nobody calibrated": Challenger(forest),
        "too sure": says(f"1 / (1 + exp(-3 * {LOGIT}))"),
        "too timid": says("0.5 + 0.3 * ({p} - 0.5)"),
        "trained on another share of signal": learns(train.where("label = 0 OR source_line % 4 = 0")),
        "says yes or no": says("CASE WHEN {p} > 0.5 THEN 1D ELSE 0D END"),
        "forgot columns": learns(train, columns[-7:]),
        "the wrong way round in one region": says("CASE WHEN region = 'forward' THEN 1 - {p} ELSE {p} END"),
        "underrates one region": says("CASE WHEN region = 'forward' THEN 0.2D ELSE {p} END"),
        "slow": says("{p}" + WAITS),
    }


@pytest.fixture(scope="module")
def of_collisions(ground, calibrated) -> dict[str, Choice]:
    forest, right = calibrated
    champion = ground.fit(ground.train, LOGISTIC)
    planted = bad_classifiers(ground, forest, right) | {
        "the champion again": Challenger(champion),
        "good": Challenger(planting.probability(forest, right, ground.frame.sparkSession)),
    }  # fmt: skip
    return ground.judge(champion, planted, timed=("good", "slow"))


@pytest.mark.long
@pytest.mark.parametrize("what", COLLISIONS)
def test_a_bad_classifier_is_refused_for_what_is_wrong_with_it(of_collisions, what):
    chosen = of_collisions[what]
    assert not chosen.promote
    assert COLLISIONS[what] in chosen.reason


@pytest.mark.long
def test_a_better_classifier_becomes_champion(of_collisions):
    assert of_collisions["good"].promote, of_collisions["good"].reason


@pytest.mark.long
def test_a_better_classifier_does_not_on_rows_too_few_to_tell(ground, calibrated):
    few = ground.frame.where("source_sha256 = 'a' OR source_line < 202")
    forest, right = calibrated
    good = Challenger(planting.probability(forest, right, ground.frame.sparkSession))
    small = Ground(ground.spec, few, ground.split, ground.columns)
    chosen = small.judge(ground.fit(ground.train, LOGISTIC), {"good": good})["good"]
    assert not chosen.promote
    assert "over champion 1 with" in chosen.reason
    assert "but that may be luck" in chosen.reason


@pytest.fixture(scope="module")
def of_quarters(_spark_session, samples) -> dict[str, Choice]:
    """Three sites in autumn; the gate asks for less than the shipped one, whose baselines take a year to beat."""
    shipped = pipelines.load("uk_traffic")
    gate = shipped.gate.model_copy(
        update={"min_skill": 0.05, "must_beat_all_on": (), "max_subgroup_growth": 0.1, "max_cost_ratio": 6}
    )
    spec = shipped.model_copy(update={"search": None, "gate": gate})
    frame = planting.quarters(_spark_session, samples, ("1009", "11", "1129"), range(10, 12)).coalesce(2)
    frame = frame.withColumn("told", F.col("flow") + F.pmod(F.xxhash64("starts_at"), F.lit(5))).cache()
    ground = Ground(spec, frame, splits.of(frame, spec), spec.features.columns)
    train = ground.train
    champion, honest = ground.fit(train, LINEAR, ["lag_1", "weekday"]), ground.fit(train, LINEAR)
    last_days = ground.split.model_copy(update={"train_stretches": ground.split.holdout_stretches})
    planted = {
        "was told the quarter": Challenger(ground.fit(train, LINEAR, [*ground.columns, "told"])),
        "repeats the last quarter": Challenger(planting.number(honest, "lag_1")),
        "counts by the hour": Challenger(planting.number(honest, "4 * prediction")),
        "sees yesterday only": Challenger(ground.fit(train, LINEAR, ["lag_96", "weekday"])),
        "never more than the usual": Challenger(planting.number(honest, "least(prediction, mean_96)")),
        "bad at one site": Challenger(planting.number(honest, "if(site = '1129', 0.84 * prediction, prediction)")),
        "trained on the last days": Challenger(ground.fit(ground.holdout, LINEAR), split=last_days),
        "slow": Challenger(planting.number(honest, f"prediction{WAITS}")),
        "good": Challenger(honest),
    }
    return ground.judge(champion, planted, timed=("good", "slow"))


@pytest.mark.parametrize("what", QUARTERS)
def test_a_bad_forecaster_is_refused_for_what_is_wrong_with_it(of_quarters, what):
    chosen = of_quarters[what]
    assert not chosen.promote
    assert QUARTERS[what] in chosen.reason


def test_a_better_forecaster_becomes_champion(of_quarters):
    assert of_quarters["good"].promote, of_quarters["good"].reason
