"""Owners of rows on Spark: exact cuts, models that know every class, and a whole study of made-up rows."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from pyspark.sql import functions as F

from benchmarks import occupation_rows
from contracts import pipelines
from contracts.errors import QualityGateError
from contracts.settings import Settings
from spark_apps import compare_partitioned_training, ingest, validate
from spark_apps.io import side_by_side, studying
from spark_apps.ml.partitioned import balance, models
from spark_apps.ml.partitioned.owners import IS_HOLDOUT, LABEL, OWNER, owned

pytestmark = pytest.mark.spark

SPEC = pipelines.load_study("occupation_risk")
SHARES, FIELDS = SPEC.owners
PROBABILITY = "automation_probability_2030"
#: Everything the study does, on fewer rows and with fewer steps.
FEW = SPEC.model_copy(
    update={
        "repeats": 2, "max_iter": 20, "leaks": (),
        "federated": SPEC.federated.model_copy(update={"rounds": 8}),
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(_spark_session, tmp_path_factory):
    path = tmp_path_factory.mktemp("made_up") / "jobs.csv"
    occupation_rows.write(path)
    from contracts.landed_files import JOBS

    read = _spark_session.read.csv(str(path), header=True, inferSchema=True)
    named = read.toDF(*[field.column for field in JOBS.fields])
    keyed = named.withColumns({"source_sha256": F.lit("a"), "source_line": F.monotonically_increasing_id() + 2})
    return keyed.coalesce(1).cache()


def test_owners_by_shares_have_exactly_these_rows_and_a_fifth_of_each_class_is_held_out(rows):
    cut = owned(rows, SPEC, SHARES, seed=1).select(OWNER, IS_HOLDOUT, SPEC.label).collect()
    assert Counter(row[OWNER] for row in cut) == SHARES.shares
    by_class = Counter((row[OWNER], row[SPEC.label]) for row in cut)
    held = Counter((row[OWNER], row[SPEC.label]) for row in cut if row[IS_HOLDOUT])
    assert len(by_class) == 9
    assert {each: round(n * SPEC.holdout_share) for each, n in by_class.items()} == held


def test_the_cut_is_the_same_in_whatever_order_rows_come_and_another_with_another_seed(rows):
    def held(frame, seed):
        cut = owned(frame, SPEC, SHARES, seed=seed)
        return {(row.source_line, row[OWNER]) for row in cut.where(IS_HOLDOUT).select("source_line", OWNER).collect()}

    mixed = rows.repartition(3).orderBy(F.xxhash64("source_line"))
    assert held(rows, 1) == held(mixed, 1) != held(rows, 2)


def test_owners_by_field_of_work_have_their_titles_and_no_field_has_all_classes(rows):
    cut = owned(rows, SPEC, FIELDS, seed=1)
    titles = cut.groupBy(OWNER).agg(F.collect_set("job_title").alias("titles")).collect()
    assert {row[OWNER]: set(row.titles) for row in titles} == {name: set(each) for name, each in FIELDS.groups.items()}
    assert cut.count() == rows.count()
    assert max(row.n for row in cut.groupBy(OWNER).agg(F.count_distinct(SPEC.label).alias("n")).collect()) == 2


def test_a_model_of_rows_that_lack_a_class_still_gives_it_a_probability(rows):
    cut = owned(rows, FEW, FIELDS, seed=1)
    lacking = cut.where(F.col(OWNER) == "technology_and_design")
    assert lacking.where(F.col(LABEL) == 2).isEmpty()
    model = models.fit(lacking, ("average_salary", PROBABILITY), FEW)
    said = models.probabilities(model, cut.where("source_line < 40"), FEW)
    assert said.shape == (38, 3)
    assert said.sum(axis=1) == pytest.approx(1)
    assert said[:, 2].max() < 0.01


def test_a_title_that_was_never_seen_is_answered_all_the_same(rows):
    model = models.fit(rows.withColumn(LABEL, F.lit(0.0)).where("job_title = 'Chef'"), ("job_title",), FEW)
    assert models.probabilities(model, rows.where("job_title = 'Nurse'").limit(5), FEW).shape == (5, 3)


def test_the_rows_of_an_owner_are_one_partition_and_leave_the_memory_with_the_block(spark, rows):
    cut = owned(rows, SPEC, SHARES, seed=1)
    with side_by_side.kept_apart(spark, cut, OWNER, SHARES.owners) as parts:
        assert {name: part.rdd.getNumPartitions() for name, part in parts.items()} == dict.fromkeys(SHARES.owners, 1)
        assert all(part.is_cached for part in parts.values())
    assert not any(part.is_cached for part in parts.values())


def test_the_first_error_of_work_at_once_is_raised(spark):
    def fails() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        side_by_side.at_once(spark, {"good": lambda: 1, "bad": fails}, group="g")


def test_what_lies_where_is_counted_for_each_way_of_spreading(rows):
    found = {
        name: balance.of(spread, "ai_exposure_index").collect()
        for name, spread in balance.spreads(rows, "ai_exposure_index", 3).items()
    }
    assert {name: sum(row["rows"] for row in each) for name, each in found.items()} == dict.fromkeys(found, 3000)
    ranges = found["ranges of ai_exposure_index"]
    assert all(one["highest"] <= other["lowest"] for one, other in pairwise(ranges))


@pytest.fixture(scope="module")
def studied(_spark_session, tmp_path_factory):
    """The application on a lake with 600 validated made-up rows: what it wrote."""
    folder = tmp_path_factory.mktemp("study")
    settings = Settings(state=folder / "state")
    occupation_rows.write(folder / "jobs.csv", rows=600)

    def run(app, *arguments):
        args = app.parse_args(["--run-id", "r", *arguments])
        if hasattr(args, "study"):
            args.study = FEW
        return app.main(args, settings, _spark_session)

    run(ingest, "jobs", str(folder / "jobs.csv"))
    run(validate, "--dataset", "bronze.jobs")
    outcome = run(compare_partitioned_training, "--out", str(folder / "study.json"))
    run(compare_partitioned_training, "--out", str(folder / "cold.json"), "--cold", "global")
    return outcome, json.loads((folder / "study.json").read_text()), json.loads((folder / "cold.json").read_text())


def test_every_contender_is_measured_in_every_setting(studied):
    outcome, found, cold = studied
    assert outcome.rows == {"validated": 600, "used": 600}
    everybody = {"global", "federated", "vote", "own_node", "each_node", "guess_by_share", "majority"}
    for owners in (SHARES, FIELDS):
        for columns in FEW.column_sets():
            mine = [row for row in found["summary"] if (row["owners"], row["columns"]) == (owners.name, columns)]
            assert {row["contender"] for row in mine} == everybody | set(owners.owners)
            assert {row["repeats"] for row in mine} == {2}
    trained = [row for row in found["measured"] if row["seconds"]]
    assert {row["contender"] for row in trained} == {"global", "federated", "vote", "own_node", "each_node"}
    assert cold["seconds"] > 0


def test_owners_alike_do_as_well_alone_and_owners_who_lack_classes_do_not(studied):
    mean = {(r["owners"], r["columns"], r["contender"]): r["macro_f1"][0] for r in studied[1]["summary"]}
    assert mean["published_shares", "all", "each_node"] > mean["published_shares", "all", "global"] - 0.1
    assert mean["fields_of_work", "all", "each_node"] < mean["fields_of_work", "all", "global"] - 0.2
    # Told the weights of the others only, nobody lacks a class any more.
    assert mean["fields_of_work", "all", "federated"] > mean["fields_of_work", "all", "each_node"] + 0.1


def test_rows_that_lack_a_class_are_no_study(rows):
    with pytest.raises(QualityGateError, match="100 rows or more of each of Low, Medium, High"):
        studying.require_rows(rows.where("risk_category <> 'High'"), SPEC)
