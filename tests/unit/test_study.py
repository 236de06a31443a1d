"""A study's file, the shares of its owners, and its measures: everything that needs no Spark."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from benchmarks import event_log, occupation_rows
from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES
from contracts.pipelines.study import Federated
from spark_apps.ml.measuring import confusion, repeats
from spark_apps.ml.partitioned import contest, federated
from spark_apps.ml.partitioned.owners import scaled

STUDIES = PIPELINES / "studies"
SPEC = pipelines.load_study("occupation_risk")
SHARES = {"a": 1006, "b": 965, "c": 1029}


def test_what_models_may_read_is_everything_without_each_leak_and_without_any():
    sets = SPEC.column_sets()
    assert {name: len(columns) for name, columns in sets.items()} == {
        "all": 17, "without automation_probability_2030": 16, "without job_title": 16, "without any leak": 15,
    }  # fmt: skip
    assert not {"job_title", "automation_probability_2030"} & set(sets["without any leak"])
    assert all(SPEC.label not in columns for columns in sets.values())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("leaks: [automation", "leaks: [salary, automation"), "salary is neither"),
        (("dataset: bronze.jobs", "dataset: bronze.job"), "field dataset: found 'bronze.job'"),
        (("numeric:\n  [average_salary", "numeric:\n  [wage"), "no wage"),
        (("node_2: 965", "node_2: 0"), "node_2 has none"),
        (("[Chef, Cons", "[Nurse, Chef, Cons"), "Nurse has two"),
        (("repeats: 5", "repeats: 1"), "field repeats: found 1"),
        (("seed: 42", "seed: 42\ntest_share: 0.2"), "required a known field: name, about, dataset"),
        (("rounds: 40", "rounds: many"), "field federated.rounds: found 'many'"),
    ],
)
def test_a_wrong_study_is_refused_with_field_value_and_what_is_allowed(tmp_path, change, told):
    text = (STUDIES / "occupation_risk.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "occupation_risk.yaml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        pipelines.load_study("occupation_risk", tmp_path)
    assert told in str(refused.value)


def test_an_unknown_study_is_refused_with_those_that_exist():
    with pytest.raises(ConfigurationError, match="one of occupation_risk"):
        pipelines.load_study("jobs")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(3000, [1006, 965, 1029]), (2400, [805, 772, 823]), (10, [3, 3, 4]), (3, [1, 1, 1]), (0, [0, 0, 0])],
)
def test_shares_are_scaled_to_the_rows_that_are_found(rows, expected):
    assert list(scaled(SHARES, rows).values()) == expected


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_scikit_learn(seed):
    draws = np.random.default_rng(seed)
    labels, answers = draws.integers(0, 3, 200), draws.choice(3, 200, p=[0.7, 0.3, 0.0] if seed else [0.2, 0.3, 0.5])
    found = confusion.f1(confusion.counts(labels, answers, 3))
    assert found == pytest.approx(
        {
            "macro_f1": f1_score(labels, answers, average="macro", zero_division=0),
            "weighted_f1": f1_score(labels, answers, average="weighted", zero_division=0),
            "accuracy": accuracy_score(labels, answers),
        }
    )


def test_a_class_that_is_not_there_and_never_answered_is_not_counted_as_a_failure():
    assert confusion.f1(np.array([[5, 0, 0], [0, 5, 0], [0, 0, 0]]))["macro_f1"] == 1


def test_the_interval_of_repeats_that_share_rows_is_wider_than_that_of_independent_ones():
    mean, half = repeats.interval([0.90, 0.92, 0.94], test_share=0.2)
    # By hand: variance .0004, times 1/3 + 1/4; t with two degrees of freedom 4.30265.
    assert (mean, half) == (pytest.approx(0.92), pytest.approx(4.30265 * (0.0004 * 7 / 12) ** 0.5, rel=1e-5))


def test_the_slope_is_that_of_the_loss():
    draws = np.random.default_rng(1)
    inputs = federated.with_bias(draws.normal(size=(30, 4)))
    wanted = np.eye(3)[draws.integers(0, 3, 30)]
    weights, reg = draws.normal(size=(5, 3)), 0.3

    def loss(at):
        likely = (federated.softmax(inputs @ at) * wanted).sum(axis=1)
        return -np.log(likely).mean() + reg / 2 * (at[:-1] ** 2).sum()

    found = federated.slope(weights, inputs, wanted, reg)
    for place in [(0, 0), (2, 1), (4, 2)]:
        step = np.zeros_like(weights)
        step[place] = 1e-6
        assert found[place] == pytest.approx((loss(weights + step) - loss(weights - step)) / 2e-6, abs=1e-6)


def test_an_owner_sends_weights_the_number_of_rows_and_nothing_of_them():
    import pandas as pd

    model = federated.Model(np.zeros(2), np.ones(2), 3)
    run = federated.local_steps(model, Federated(rounds=1, local_steps=2, step=0.5), 0.0)
    rows = pd.DataFrame({"features": [[1.0, 0.0], [0.0, 1.0]], "label": [0, 2]})
    (sent,) = run(iter([rows.iloc[:1], rows.iloc[1:]]))
    assert set(sent.columns) == {"weights", "rows", "cpu_s"}
    assert sent["rows"].tolist() == [2]
    learned = np.array(sent["weights"][0]).reshape(3, 3)
    assert learned[0].argmax() == 0
    assert learned[1].argmax() == 2
    assert list(run(iter([rows.iloc[:0]]))) == []


def test_each_row_is_answered_by_its_owners_model_and_by_the_vote_of_all():
    labels, owners = np.array([0, 1, 1]), np.array(["a", "b", "b"])
    sure_0, sure_1 = np.tile([0.9, 0.1], (3, 1)), np.tile([0.3, 0.7], (3, 1))
    found = contest.judge(labels, owners, {contest.GLOBAL: sure_1}, {"a": sure_0, "b": sure_1})
    accuracy = {name: round(measures["accuracy"], 3) for name, measures in found.items()}
    assert accuracy == {
        "global": 0.667, "vote": 0.333, "own_node": 1.0, "a": 0.333, "b": 0.667, "each_node": 0.5,
    }  # fmt: skip


def test_who_only_knows_the_shares_reaches_them():
    labels = np.repeat([0, 1, 2], [250, 500, 250])
    found = contest.guesses(labels, np.array([0.25, 0.5, 0.25]), seed=1)
    assert found[contest.MAJORITY]["macro_f1"] == pytest.approx(2 / 9)
    assert found[contest.GUESS]["macro_f1"] == pytest.approx(1 / 3, abs=0.01)


def test_the_summary_compares_with_the_model_of_everybody_in_the_same_repeat():
    rows = [
        {
            "owners": "o",
            "columns": "c",
            "contender": who,
            "repeat": n,
            "macro_f1": f1,
            "weighted_f1": f1,
            "accuracy": f1,
        }
        for who, values in {"global": [0.8, 0.9], "vote": [0.7, 0.8]}.items()
        for n, f1 in enumerate(values)
    ]
    found = {row["contender"]: row for row in contest.summary(rows, test_share=0.2)}
    assert found["vote"]["above_global"] == pytest.approx((-0.1, 0.0))
    assert found["vote"]["macro_f1"][0] == pytest.approx(0.75)
    assert found["global"]["above_global"] == (0.0, 0.0)


def test_made_up_rows_have_the_published_columns_and_a_class_that_follows_from_the_probability(tmp_path):
    occupation_rows.write(tmp_path / "jobs.csv")
    rows = list(csv.DictReader((tmp_path / "jobs.csv").open(encoding="utf-8")))
    assert len(rows) == 3000
    assert {"Job_Title", "AI_Exposure_Index", "Risk_Category", "Skill_10"} <= set(rows[0])
    for row in rows:
        p = float(row["Automation_Probability_2030"])
        assert row["Risk_Category"] == ("Low" if p <= 0.30 else "Medium" if p <= 0.70 else "High")


def test_the_event_log_is_added_up_by_job_group(tmp_path):
    def task(stage, executor, cpu_ns):
        return {
            "Event": "SparkListenerTaskEnd", "Stage ID": stage, "Task Info": {"Executor ID": executor},
            "Task Metrics": {
                "Executor CPU Time": cpu_ns, "Executor Run Time": 2000, "JVM GC Time": 100, "Disk Bytes Spilled": 2**20,
                "Peak Execution Memory": 3 * 2**20, "Shuffle Read Metrics": {"Remote Bytes Read": 2**20},
                "Shuffle Write Metrics": {"Shuffle Bytes Written": 2**21},
            },
        }  # fmt: skip

    started = {"Event": "SparkListenerJobStart", "Stage IDs": [1, 2], "Properties": {"spark.jobGroup.id": "mine"}}
    # Of a later job of somebody else, stage 2 is skipped: it was made already.
    again = {"Event": "SparkListenerJobStart", "Stage IDs": [2, 3], "Properties": {}}
    events = [started, task(1, "0", 10**9), task(2, "1", 10**9), again, task(3, "0", 5 * 10**9)]
    (tmp_path / "app-1").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    found = event_log.by_group(tmp_path)
    assert found["mine"].executors == {"0": 1, "1": 1}
    assert (found["mine"].cpu_s, found["mine"].gc_s, found["mine"].spilled_mib) == (2.0, 0.2, 2.0)
    assert found[""].cpu_s == 5.0
    assert event_log.total(list(found.values())).shuffle_written_mib == 6.0
