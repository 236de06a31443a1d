"""Choosing the champion: the first candidate has no right to win."""

import pytest

from contracts.pipelines.parts import Gate
from spark_apps.ml.choosing import Rated, choose
from spark_apps.ml.measuring.metrics import Probabilities
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.regression_errors import Errors

KNOWN = "was trained on rows until 1995-07-09T13:00:00+00:00; the holdout begins 1995-07-09T12:00:00+00:00"
GATE = Gate(
    metric="mae", baseline="persistence", min_skill=0.05, must_beat_all_on=("mae", "poisson_deviance"), min_gain=0.01
)


def errors(mae: float, deviance: float = 4.0) -> Errors:
    return Errors(rows=100, mae=mae, rmse=mae * 1.3, poisson_deviance=deviance, r2=0.2, bias=0.0)


BASELINES = {"mean": errors(12.0, 9.0), "persistence": errors(10.0, 7.0), "rolling_mean_5": errors(9.5, 6.0)}


def rated(version: int, own: Errors | Probabilities | None, **more: object) -> Rated:
    return Rated.model_validate({"version": version, "errors": own, "columns": ["lag_1", "lag_2"], **more})


def choice(candidate: Rated, champion: Rated | None = None, gate: Gate = GATE):
    return choose(candidate, champion, BASELINES, gate)


def test_a_first_candidate_that_beats_every_baseline_becomes_champion():
    chosen = choice(rated(1, errors(8.6)))
    assert chosen.promote
    assert chosen.reason == "First champion. Version 1 has mae 8.600 against persistence 10.000, a skill of 14.0%."


def test_a_first_candidate_with_too_little_skill_is_not_promoted():
    chosen = choice(rated(1, errors(9.6)))
    assert not chosen.promote
    assert (
        chosen.reason
        == "Version 1 has mae 9.600 against persistence 10.000, a skill of 4.0%, less than the required 5.0%."
    )


def test_a_first_candidate_that_loses_to_another_baseline_is_not_promoted():
    chosen = choice(rated(1, errors(9.5)))
    assert (chosen.promote, chosen.reason) == (
        False,
        "Version 1 does not beat rolling_mean_5 on mae: 9.500 against 9.500.",
    )


def test_a_smaller_mae_does_not_make_up_for_a_larger_deviance():
    chosen = choice(rated(1, errors(8.0, deviance=6.5)))
    assert (chosen.promote, chosen.reason) == (
        False, "Version 1 does not beat rolling_mean_5 on poisson_deviance: 6.500 against 6.000.",
    )  # fmt: skip


def test_an_error_that_is_not_a_number_is_not_promoted():
    assert not choice(rated(1, errors(float("nan")))).promote


def test_a_better_candidate_replaces_the_champion():
    chosen = choice(rated(2, errors(8.0)), rated(1, errors(8.6)))
    assert chosen.promote
    assert "mae 8.000" in chosen.reason
    assert "a gain of 7.0% over champion 1 with 8.600" in chosen.reason


@pytest.mark.parametrize("mae", [8.55, 8.6, 8.9])
def test_a_candidate_without_the_required_gain_leaves_the_champion(mae):
    chosen = choice(rated(2, errors(mae)), rated(1, errors(8.6)))
    assert not chosen.promote
    assert "less than the required 1.0%" in chosen.reason


def test_an_equal_candidate_leaves_the_champion_even_where_no_gain_is_required():
    gate = GATE.model_copy(update={"min_gain": 0.0})
    assert not choice(rated(2, errors(8.6)), rated(1, errors(8.6)), gate).promote


def test_a_better_candidate_below_the_gate_does_not_replace_a_champion_that_got_worse():
    assert not choice(rated(2, errors(9.9)), rated(1, errors(11.0))).promote


def test_a_champion_that_was_trained_on_the_holdout_stays():
    chosen = choice(rated(2, errors(8.0)), rated(1, errors(8.6), knows_holdout=KNOWN))
    assert not chosen.promote
    assert "champion 1 was trained on rows until 1995-07-09T13:00:00+00:00" in chosen.reason


def test_a_champion_that_cannot_read_these_rows_leaves_the_decision_to_the_baselines():
    assert choice(rated(2, errors(8.6)), rated(1, None)).promote
    assert not choice(rated(2, errors(9.9)), rated(1, None)).promote


def test_a_candidate_that_cannot_read_these_rows_is_not_promoted():
    assert not choice(rated(2, None)).promote


def test_evaluating_the_champion_again_changes_nothing():
    chosen = choice(rated(1, errors(8.6)), rated(1, errors(8.6)))
    assert (chosen.promote, chosen.reason) == (False, "Version 1 is the champion already.")


def probabilities(roc_auc: float, log_loss: float) -> Probabilities:
    return Probabilities(
        rows=100, roc_auc=roc_auc, roc_auc_sd=0.01, pr_auc=roc_auc, log_loss=log_loss, brier=0.2, ece=0.01,
        ece_limit=0.02,
    )  # fmt: skip


@pytest.mark.parametrize(("roc_auc", "passes"), [(0.78, True), (0.77, False)])
def test_an_area_under_a_curve_is_judged_by_what_it_lacks(roc_auc, passes):
    gate = Gate(metric="roc_auc", baseline="prior", min_skill=0.55, must_beat_all_on=("log_loss",), min_gain=0.01)
    chosen = choose(rated(1, probabilities(roc_auc, 0.57)), None, {"prior": probabilities(0.5, 0.69)}, gate)
    assert chosen.promote is passes
    assert f"roc_auc {roc_auc:.3f} against prior 0.500, a skill of {1 - (1 - roc_auc) / 0.5:.1%}" in chosen.reason


@pytest.mark.parametrize(("error", "passes"), [(0.5, True), (1.0, False)])
def test_a_difference_that_may_be_luck_is_not_promoted(error, passes):
    test = Difference(mean=-1.4, standard_error=error, blocks=20)
    chosen = choice(rated(1, errors(8.6), against_baseline=test))
    assert chosen.promote is passes
    assert ("the paired loss differs by -3.3600 to 0.5600 (95 %)" in chosen.reason) is not passes


@pytest.mark.parametrize(("error", "promoted"), [(0.2, True), (0.4, False)])
def test_a_champion_is_not_replaced_by_luck(error, promoted):
    beside = Difference(mean=-0.6, standard_error=error, blocks=20)
    chosen = choice(rated(2, errors(8.0), against_champion=beside), rated(1, errors(8.6)))
    assert chosen.promote is promoted
    assert ("over champion 1 with 8.600, but that may be luck" in chosen.reason) is not promoted


def test_what_could_not_be_computed_is_no_metric():
    found = probabilities(0.7, 0.6).model_copy(update={"roc_auc": float("nan")}).numbers()
    assert "roc_auc" not in found
    assert found["log_loss"] == 0.6
