"""From what a check found to what is done about it."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from contracts.pipelines.drift import Confirmation, DriftPolicy
from spark_apps.ml.drift import losses
from spark_apps.ml.drift.deciding import Findings, decide
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.losses import LossGrowth

POLICY = DriftPolicy(cron="0 4 * * *", action="retrain")


def shift(**said) -> Shift:
    whole = {
        "column": "flow", "group": None, "kind": "numeric", "reference_rows": 9000, "window_rows": 900,
        "effect": 0.2, "p": 0.001, "p_adjusted": 0.001, "is_drift": True, "missing": 0.0,
    }  # fmt: skip
    return Shift(**whole | said)


CALM = shift(column="speed", effect=0.02, p=0.4, p_adjusted=0.4, is_drift=False)


def test_a_column_that_drifted_leads_to_the_policys_action():
    decision = decide(Findings(shifts=(shift(), CALM)), POLICY, [])
    assert (decision.state, decision.action) == ("drift", "retrain")
    assert decision.reason == "1 of 2 comparisons are drift: flow by 0.200."


def test_nothing_that_drifted_leads_to_nothing():
    decision = decide(Findings(shifts=(CALM,)), POLICY, ["drift", "drift"])
    assert (decision.state, decision.action) == ("stable", "none")
    assert "largest effect is 0.020" in decision.reason


def test_broken_data_go_to_a_person_even_when_everything_drifted():
    found = Findings(shifts=(shift(),), breaks=("speed looks as if its unit had changed: km to miles",))
    decision = decide(found, POLICY, [])
    assert (decision.state, decision.action) == ("broken", "ask")
    assert "km to miles" in decision.reason


@pytest.mark.parametrize(
    ("earlier", "action"),
    [
        ([], "none"),
        (["stable", "stable", "drift"], "none"),
        (["stable", "drift"], "retrain"),
        (["not_enough_data", "broken", "drift"], "retrain"),
        (["stable", "stable", "stable", "drift"], "none"),
    ],
)
def test_drift_must_be_seen_in_two_of_the_newest_three_windows(earlier, action):
    policy = POLICY.model_copy(update={"confirm": Confirmation(windows=2, of=3)})
    decision = decide(Findings(shifts=(shift(),)), policy, earlier)
    assert (decision.state, decision.action) == ("drift", action)


def test_too_few_rows_are_said_to_be_too_few():
    decision = decide(Findings(shifts=(shift(p=None, p_adjusted=None, is_drift=False, window_rows=120),)), POLICY, [])
    assert (decision.state, decision.action) == ("not_enough_data", "none")
    assert "120 rows" in decision.reason
    assert "500 are required" in decision.reason
    assert decide(Findings(), POLICY, []).state == "not_enough_data"


def test_a_champion_that_errs_more_is_drift_without_a_column_that_moved():
    loss = LossGrowth(holdout=10.0, now=14.0, rows=700, blocks=7, evidence=inf, is_drift=True)
    decision = decide(Findings(shifts=(CALM,), loss=loss), POLICY, [])
    assert (decision.state, decision.action) == ("drift", "retrain")
    assert "+40.0%" in decision.reason


def blocks(random, n, level):
    return [(value * 100, 100) for value in random.normal(level, 0.3, n)]


def growths(level, repeats=200):
    random = np.random.default_rng(11)
    return [
        losses.grown(blocks(random, 30, 1.0), blocks(random, 60, level), min_growth=0.1, alpha=0.05).is_drift
        for _ in range(repeats)
    ]


def test_looking_at_every_one_of_sixty_blocks_gives_few_false_alarms():
    assert np.mean(growths(1.0)) <= 0.01
    # Just as large as the policy bears.
    assert np.mean(growths(1.1)) <= 0.05


def test_a_loss_that_grew_by_half_is_found():
    assert np.mean(growths(1.5)) >= 0.95


def test_few_blocks_of_the_holdout_are_no_ground_for_a_test():
    random = np.random.default_rng(1)
    few, now = blocks(random, losses.MIN_BLOCKS - 1, 1.0), blocks(random, 5, 9.0)
    assert losses.grown(few, now, min_growth=0, alpha=0.05) is None
    assert losses.grown(blocks(random, 30, 1.0), [], min_growth=0, alpha=0.05) is None


def test_calibrated_probabilities_foretell_the_scores():
    random = np.random.default_rng(12)
    p = random.beta(2, 3, 200_000)
    y = random.random(200_000) < p
    edges = np.linspace(0, 1, 1001)
    at = np.minimum((p * 1000).astype(int), 999)
    rows = np.bincount(at, minlength=1000)
    means = np.bincount(at, p, 1000) / np.maximum(rows, 1)
    found = losses.expected(np.where(rows, means, edges[:-1]), rows)
    order = np.argsort(p)
    ranks = np.empty(len(p))
    ranks[order] = np.arange(1, len(p) + 1)
    positive = y.sum()
    auc = (ranks[y].sum() - positive * (positive + 1) / 2) / (positive * (len(p) - positive))
    assert found.roc_auc == pytest.approx(auc, abs=0.003)
    assert found.brier == pytest.approx(((p - y) ** 2).mean(), abs=0.002)
    assert found.log_loss == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), abs=0.005)
    assert losses.expected([], []) is None
