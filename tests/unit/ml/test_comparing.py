"""What evaluate finds out about candidate and champion: losses by subgroup, the cost of answers, and what is kept."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import functions as F

from contracts import pipelines
from spark_apps.io import registry
from spark_apps.io.pointers import Decision, Snapshot
from spark_apps.io.registry import Version
from spark_apps.ml import comparing
from spark_apps.ml.comparing import Compared
from spark_apps.ml.measuring import cost, paired, subgroups
from spark_apps.ml.splitting.splits import FileBounds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRAFFIC, HIGGS = pipelines.load("uk_traffic"), pipelines.load("higgs")
SPLIT = FileBounds(train_files=("a",), holdout_files=("b",), left_out=(), train_rows=9, holdout_rows=9)
NOTHING = Compared("version 2", {}, {}, None, {}, {})


def quarters(spark) -> DataFrame:
    """Site a has a quarter on each of 40 days, b two on each of 20, c one on 29 days, d 40 on one day.

    Ours errs by 1 at a, by 3 and 5 at b; theirs by 2 everywhere.
    """
    days = [("a", n, 1.0) for n in range(40)] + [("b", n // 2, 3.0 + n % 2 * 2) for n in range(40)]
    days += [("c", n, 9.0) for n in range(29)] + [("d", 0, 9.0) for _ in range(40)]
    return spark.createDataFrame(days, "site string, day int, error double").select(
        "site", (F.to_timestamp(F.lit("2014-01-01")) + F.make_dt_interval("day")).alias("starts_at"),
        F.lit(100.0).alias("flow"), (100 + F.col("error")).alias("ours"), F.lit(98.0).alias("theirs"),
    )  # fmt: skip


@pytest.mark.spark
def test_losses_by_subgroup_are_means_of_rows_and_tests_of_blocks(spark):
    found = subgroups.beside(quarters(spark), TRAFFIC, F.col("ours"), F.col("theirs"))
    # c has too few rows, d too few days.
    assert {name: (group.rows, group.loss, group.other) for name, group in found.items()} == {
        "site=a": (40, 1.0, 2.0), "site=b": (40, 4.0, 2.0),
    }  # fmt: skip
    assert (found["site=a"].against.blocks, found["site=b"].against.blocks) == (40, 20)
    alone = paired.difference(quarters(spark).where("site = 'b'"), TRAFFIC, F.col("ours"), F.col("theirs"))
    assert found["site=b"].against == alone


@pytest.mark.spark
def test_all_columns_are_measured_at_once_by_log_loss_and_a_missing_value_is_one(spark):
    rows = [("ab"[n % 2], n, n % 2, 0.5, 0.25, "x" if n < 30 else None) for n in range(70)]
    frame = spark.createDataFrame(
        rows, "source_sha256 string, source_line bigint, label int, ours double, theirs double, region string"
    )
    asked = HIGGS.model_copy(update={"subgroups": ("source_sha256", "region")})
    found = subgroups.beside(frame, asked, F.col("ours"), F.col("theirs"))
    assert list(found) == ["region=null", "region=x", "source_sha256=a", "source_sha256=b"]
    assert [group.rows for group in found.values()] == [40, 30, 35, 35]
    assert {round(group.loss, 12) for group in found.values()} == {round(math.log(2), 12)}
    # All of a are 0, all of b are 1.
    assert found["source_sha256=a"].other == pytest.approx(-math.log(0.75))
    assert found["source_sha256=b"].other == pytest.approx(-math.log(0.25))
    assert subgroups.beside(frame, HIGGS, F.col("ours"), F.col("theirs")) == {}


@pytest.mark.spark
def test_the_shortest_of_three_times_counts_and_everybody_has_a_turn(spark):
    # A clock that is read before and after: 5, 3, 4 seconds for a; 2, 8, 1 for b.
    ticks = iter([0, 5, 5, 7, 7, 10, 10, 18, 18, 22, 22, 23])
    frame = spark.range(1)
    assert cost.seconds({"a": frame, "b": frame}, lambda: next(ticks)) == {"a": 3, "b": 1}
    assert next(ticks, None) is None
    assert cost.seconds({}) == {}


@pytest.mark.spark
def test_what_is_timed_is_worked_out(spark):
    with pytest.raises(Exception, match="DIVIDE_BY_ZERO"):
        cost.seconds({"a": spark.range(1).select(F.lit(1) / F.col("id"))})


@pytest.mark.spark
@pytest.mark.parametrize("ratio", [None, 5.0])
def test_candidate_and_champion_are_compared_and_timed_only_where_the_gate_asks(spark, ratio):
    asked = TRAFFIC.model_copy(update={"gate": TRAFFIC.gate.model_copy(update={"max_cost_ratio": ratio})})
    lags = {name: F.lit(95.0) for name in TRAFFIC.features.counts} | {"slot": F.lit(0), "weekday": F.lit(1)}
    frame = quarters(spark).withColumns(lags)
    ours, theirs = (
        PipelineModel([SQLTransformer(statement=f"SELECT *, {name} AS prediction FROM __THIS__")])
        for name in ("ours", "theirs")
    )
    found = comparing.compare(frame, frame, {"version 2": ours, "version 1": theirs}, asked, candidate="version 2")
    assert list(found.errors) == [*TRAFFIC.baseline_names, "version 2", "version 1"]
    assert found.against_champion.mean == pytest.approx(found.errors["version 2"].mae - found.errors["version 1"].mae)
    assert found.against_baseline["version 1"].mean == pytest.approx(2 - 5)
    assert found.subgroups["site=b"].other == 2.0
    assert set(found.scoring_s) == (set() if ratio is None else {"version 1", "version 2"})
    first = comparing.compare(frame, frame, {"version 2": ours}, asked, candidate="version 2")
    assert (first.against_champion, first.scoring_s) == (None, {})
    # Beside persistence, whose every error is 5.
    assert first.subgroups["site=b"].other == 5.0
    # A candidate that cannot read the rows leaves the champion's own measures.
    unread = comparing.compare(frame, frame, {"version 1": theirs}, asked, candidate="version 2")
    assert (list(unread.against_baseline), unread.subgroups, unread.against_champion) == (["version 1"], {}, None)


def version(number: int, split: FileBounds = SPLIT, snapshot: str = "features.higgs/ab") -> Version:
    tags = {"columns": '["m_bb"]', "split": split.model_dump_json(), "snapshot": snapshot}
    return Version(name="higgs", version=number, run_id="r", tags=tags)


@pytest.mark.parametrize(
    ("said", "knows"),
    [
        (version(2), ""),
        (version(2, SPLIT.model_copy(update={"train_files": ("a", "b")})), "was trained on 1 of the holdout's files"),
        (
            version(2, snapshot="features.higgs/cd"),
            "was trained on snapshot features.higgs/cd, not on features.higgs/ab",
        ),
    ],
)
def test_a_candidate_whose_record_does_not_fit_cannot_be_judged(said, knows):
    judged_on = Snapshot(name="features.higgs", hash="ab", rows=18, path="", key=HIGGS.key)
    assert registry.rated(said, SPLIT, NOTHING, trained_on=judged_on).knows_holdout == knows


def test_a_champion_is_of_an_earlier_snapshot_and_what_was_found_about_the_pair_is_the_candidates():
    test = paired.Difference(mean=-1.0, standard_error=0.1, blocks=20)
    group = subgroups.GroupLoss(rows=40, loss=1.0, against=test)
    seconds = {"version 1": 2.0, "version 2": 3.0}
    found = Compared("version 2", {}, {"version 1": test}, test, {"site=a": group}, seconds)
    own, theirs = (registry.rated(version(n, snapshot="features.higgs/cd"), SPLIT, found) for n in (2, 1))
    assert (own.against_champion, own.subgroups, own.scoring_s) == (test, {"site=a": group}, 3.0)
    assert (theirs.against_champion, theirs.subgroups, theirs.scoring_s) == (None, {}, 2.0)
    assert (own.knows_holdout, theirs.knows_holdout) == ("", "")
    assert (own.against_baseline, theirs.against_baseline) == (None, test)


@pytest.mark.spark
def test_the_evidence_can_be_written_down_and_read_again(spark, tmp_path):
    frame = quarters(spark).withColumns({name: F.lit(95.0) for name in TRAFFIC.features.counts})
    frame = frame.withColumns({"slot": F.lit(0), "weekday": F.lit(1)})
    model = PipelineModel([SQLTransformer(statement="SELECT *, ours AS prediction FROM __THIS__")])
    evidence = comparing.compare(frame, frame, {"version 2": model}, TRAFFIC, candidate="version 2").evidence(TRAFFIC)
    decision = Decision(pipeline="uk_traffic", promote=True, reason="", snapshot_hash="ab", evidence=evidence)
    decision.write(tmp_path / "decision.json")
    assert Decision.read(tmp_path / "decision.json", pipeline="uk_traffic") == decision
    said = json.loads(json.dumps(evidence, allow_nan=False))
    assert said["subgroups"]["site=b"] | {"low": 0, "high": 0} == {
        "rows": 40, "loss": 4.0, "instead_of": 5.0, "low": 0, "high": 0,
    }  # fmt: skip
    assert said["subgroups"]["site=b"]["low"] < 0
    assert [row["predictor"] for row in said["errors"]] == [*TRAFFIC.baseline_names, "version 2"]
    assert said["against_champion"] is None
