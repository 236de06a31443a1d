"""Planted challengers on paper: each bad one is refused, and for what is wrong with it; good ones pass."""

from __future__ import annotations

import math

import pytest

from contracts.pipelines.parts import Gate
from spark_apps.ml.choosing import Rated, choose
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring.metrics import Probabilities
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.regression_errors import Errors
from spark_apps.ml.measuring.subgroups import GroupLoss

HIGGS = Gate(
    metric="roc_auc", baseline="prior", min_skill=0.5, max_skill=0.77, must_beat_all_on=("log_loss", "pr_auc"),
    max_excess_ece=0.02, min_gain=0.01, max_subgroup_growth=0.1, max_cost_ratio=10,
)  # fmt: skip
TRAFFIC = Gate(
    metric="mae", baseline="persistence", min_skill=0.2, max_skill=0.45, must_beat_all_on=("mae", "poisson_deviance"),
    min_gain=0.01, max_subgroup_growth=0.1, max_cost_ratio=10,
)  # fmt: skip
BETTER, WORSE, UNSURE = (
    Difference(mean=mean, standard_error=error, blocks=400) for mean, error in ((-0.1, 0.01), (0.1, 0.01), (-0.1, 0.06))
)


def scores(roc_auc: float, *, log_loss: float = 0.55, pr_auc: float = 0.78, ece: float = 0.010) -> Probabilities:
    return Probabilities(
        rows=10_000, roc_auc=roc_auc, roc_auc_sd=0.005, pr_auc=pr_auc, log_loss=log_loss, brier=0.19, ece=ece,
        ece_limit=0.014,
    )  # fmt: skip


def errors(mae: float, deviance: float = 4.0) -> Errors:
    return Errors(rows=10_000, mae=mae, rmse=mae * 1.8, poisson_deviance=deviance, r2=0.9, bias=0.0)


def group(loss: float, other: float, *, error: float = 0.01, blocks: int = 60, rows: int = 600) -> GroupLoss:
    against = Difference(mean=loss - other, standard_error=error, blocks=blocks)
    return GroupLoss(rows=rows, loss=loss, against=against)


PRIOR = {"prior": scores(0.5, log_loss=0.691, pr_auc=0.53, ece=0.0)}
LAST = {"mean": errors(193.0, 130.0), "persistence": errors(23.2, 7.0), "rolling": errors(19.7, 5.0)}
FAIR = {"site=a": group(0.50, 0.55), "site=b": group(0.57, 0.55)}


def candidate(measures: Errors | Probabilities | None, **more: object) -> Rated:
    said = {"against_baseline": BETTER, "against_champion": BETTER, "subgroups": FAIR, "scoring_s": 1.0}
    return Rated.model_validate({"version": 2, "errors": measures, "columns": ["m_bb", "m_jj"], **said, **more})


def champion(measures: Errors | Probabilities | None, **more: object) -> Rated:
    said = {"scoring_s": 0.5, "against_baseline": BETTER}
    return Rated.model_validate({"version": 1, "errors": measures, "columns": ["m_bb", "m_top"], **said, **more})


OF_HIGGS, OF_TRAFFIC = champion(scores(0.77, log_loss=0.58)), champion(errors(17.9))

#: What is wrong: the challenger, and what the reason must say of it.
BAD_SCORES = {
    "reads what is not here": (candidate(None), "Version 2 reads m_bb, m_jj, not all of which are here."),
    "trained on the holdout": (
        candidate(scores(0.76), knows_holdout="was trained on 1 of the holdout's files"),
        "Version 2 was trained on 1 of the holdout's files.",
    ),
    "trained on the holdout, and it shows": (
        candidate(scores(0.99), knows_holdout="was trained on 1 of the holdout's files"),
        "Version 2 was trained on 1 of the holdout's files.",
    ),
    "of another snapshot": (
        candidate(scores(0.79), knows_holdout="was trained on snapshot f/1, not on f/2"),
        "Version 2 was trained on snapshot f/1, not on f/2.",
    ),
    "leaky": (candidate(scores(0.99)), "a skill of 98.0%, which is too good to be true: above 77.0% (gate.max_skill)"),
    "a little leaky": (candidate(scores(0.8851)), "too good to be true"),
    "perfect": (candidate(scores(1.0, log_loss=0.0, ece=0.0)), "too good to be true"),
    "constant": (candidate(scores(0.5, log_loss=0.691)), "a skill of 0.0%, less than the required 50.0%"),
    "the wrong way round": (candidate(scores(0.21, log_loss=1.2, ece=0.4)), "less than the required 50.0%"),
    "not a number": (candidate(scores(math.nan)), "a skill of nan%, less than the required 50.0%"),
    "too little skill": (candidate(scores(0.749)), "a skill of 49.8%, less than the required 50.0%"),
    "too sure": (
        candidate(scores(0.79, log_loss=0.75, ece=0.134)),
        "its probabilities do not mean what they say: they are 0.134 off on average (ECE), 0.120 above the 0.014 that "
        "chance explains; 0.020 is allowed",
    ),
    "too timid": (candidate(scores(0.79, ece=0.0345)), "0.021 above the 0.014 that chance explains"),
    "calibration not measured": (candidate(scores(0.79, ece=math.nan)), "do not mean what they say"),
    "one metric bought by another": (
        candidate(scores(0.79, pr_auc=0.53)), "does not beat prior on pr_auc: 0.530 against 0.530.",
    ),
    "lucky beside the baseline": (
        candidate(scores(0.79), against_baseline=UNSURE), "but that may be luck: the paired loss differs by -0.2176",
    ),
    "no better than the champion": (
        candidate(scores(0.77)), "a gain of 0.0% over champion 1 with 0.770, less than the required 1.0%",
    ),
    "a little better than the champion": (candidate(scores(0.772)), "a gain of 0.9% over champion 1"),
    "worse than the champion": (candidate(scores(0.76)), "a gain of -4.3% over champion 1 with 0.770, less than the"),
    "lucky beside the champion": (
        candidate(scores(0.79), against_champion=UNSURE), "a gain of 8.7% over champion 1 with 0.770, but that may be",
    ),
    "a better order, worse probabilities": (
        candidate(scores(0.79), against_champion=WORSE), "row by row it is worse: the paired loss differs by 0.0804",
    ),
    "unfair": (
        candidate(scores(0.79), subgroups={**FAIR, "site=c": group(0.66, 0.55)}),
        "but site=c would pay for it: on its 600 rows the loss is 0.660 instead of the 0.550 of champion 1, 20.0% "
        "more; 10.0% is allowed.",
    ),
    "unfair to several": (
        candidate(scores(0.79), subgroups={**FAIR, "site=c": group(0.66, 0.55), "site=d": group(0.90, 0.55)}),
        "but site=d would pay for it: on its 600 rows the loss is 0.900 instead of the 0.550 of champion 1, 63.6% "
        "more; 10.0% is allowed, and 1 more of 4 like it.",
    ),
    "unfair where all was well": (
        candidate(scores(0.79), subgroups={"site=c": group(0.05, 0.0, error=0.001)}), "inf% more",
    ),
    "slow": (
        candidate(scores(0.79), scoring_s=5.5),
        "but it is too slow: its answers for the holdout take 5.50 s instead of 0.50 s, 11.00 times as long; 10 times "
        "is allowed.",
    ),
    "unfair and slow": (
        candidate(scores(0.79), subgroups={"site=c": group(0.66, 0.55)}, scoring_s=99.0), "site=c would pay for it",
    ),
}  # fmt: skip
BAD_ERRORS = {
    "leaky": (candidate(errors(2.0, 0.5)), "mae 2.000 against persistence 23.200, a skill of 91.4%, which is too good"),
    "a copy of persistence": (candidate(errors(23.2, 7.0)), "a skill of 0.0%, less than the required 20.0%"),
    "another unit": (candidate(errors(510.0, 900.0)), "less than the required 20.0%"),
    "beaten by another baseline": (
        candidate(errors(17.0, 5.0)), "does not beat rolling on poisson_deviance: 5.000 against 5.000.",
    ),
    "not a number": (candidate(errors(math.nan)), "less than the required 20.0%"),
    "unfair": (candidate(errors(17.0), subgroups={"site=a": group(22.5, 20.0, error=0.3)}), "12.5% more; 10.0% is"),
    "slow": (candidate(errors(17.0), scoring_s=5.01), "10.02 times as long; 10 times is allowed"),
    "no better": (candidate(errors(17.8)), "a gain of 0.6% over champion 1 with 17.900, less than the required 1.0%"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_SCORES)
def test_a_bad_challenger_is_refused_for_what_is_wrong_with_it(what):
    challenger, reason = BAD_SCORES[what]
    chosen = choose(challenger, OF_HIGGS, PRIOR, HIGGS)
    assert not chosen.promote
    assert reason in chosen.reason
    assert chosen.reason.endswith(".")


@pytest.mark.parametrize("what", BAD_ERRORS)
def test_a_bad_forecaster_is_refused_for_what_is_wrong_with_it(what):
    challenger, reason = BAD_ERRORS[what]
    chosen = choose(challenger, OF_TRAFFIC, LAST, TRAFFIC)
    assert not chosen.promote
    assert reason in chosen.reason


#: At each border on the side that passes, and what looks like a fault and is none.
GOOD_SCORES = {
    "better": candidate(scores(0.79)),
    "as good as may be true": candidate(scores(0.885)),
    "just skilled enough": candidate(scores(0.775)),
    "just calibrated enough": candidate(scores(0.79, ece=0.0339)),
    "just fair enough": candidate(scores(0.79), subgroups={"site=c": group(0.605, 0.55)}),
    "a group that is worse by chance": candidate(scores(0.79), subgroups={"site=c": group(0.66, 0.55, error=0.06)}),
    "a group of one block": candidate(scores(0.79), subgroups={"site=c": group(0.66, 0.55, error=math.inf, blocks=1)}),
    "no groups": candidate(scores(0.79), subgroups={}),
    "just fast enough": candidate(scores(0.79), scoring_s=5.0),
    "faster": candidate(scores(0.79), scoring_s=0.01),
}


@pytest.mark.parametrize("what", GOOD_SCORES)
def test_a_good_challenger_becomes_champion(what):
    chosen = choose(GOOD_SCORES[what], OF_HIGGS, PRIOR, HIGGS)
    assert chosen.promote, chosen.reason
    assert "over champion 1 with 0.770." in chosen.reason


def test_what_the_gate_does_not_ask_for_refuses_nobody():
    gate = Gate(metric="roc_auc", baseline="prior", min_skill=0.5, min_gain=0.01)
    careless = candidate(
        scores(0.999, ece=0.4), subgroups={"site=c": group(2.0, 0.1)}, scoring_s=100.0, against_baseline=None
    )
    assert choose(careless, OF_HIGGS, PRIOR, gate).promote


def test_a_group_that_is_worse_must_be_so_surely_and_the_more_groups_the_more_surely():
    # 2.5 standard errors: enough for one group alone, and to be expected of one among forty.
    worse = group(0.70, 0.55, error=0.06)
    few, many = ({f"site={n}": FAIR["site=a"] for n in range(rest)} | {"site=c": worse} for rest in (0, 39))
    assert not choose(candidate(scores(0.79), subgroups=few), OF_HIGGS, PRIOR, HIGGS).promote
    assert choose(candidate(scores(0.79), subgroups=many), OF_HIGGS, PRIOR, HIGGS).promote


def test_few_blocks_say_less_than_many():
    worse = {blocks: {"site=c": group(0.70, 0.55, error=0.07, blocks=blocks)} for blocks in (10, 60)}
    assert choose(candidate(scores(0.79), subgroups=worse[10]), OF_HIGGS, PRIOR, HIGGS).promote
    assert not choose(candidate(scores(0.79), subgroups=worse[60]), OF_HIGGS, PRIOR, HIGGS).promote


@pytest.mark.parametrize("before", [None, champion(None)], ids=["none", "one that reads other columns"])
def test_without_a_champion_to_compare_with_groups_are_held_against_the_baseline(before):
    worse = {"site=c": group(0.80, 0.69)}
    refused = choose(candidate(scores(0.79), subgroups=worse), before, PRIOR, HIGGS)
    assert not refused.promote
    assert (
        "but site=c would pay for it: on its 600 rows the loss is 0.800 instead of the 0.690 of prior" in refused.reason
    )
    assert choose(candidate(scores(0.79)), before, PRIOR, HIGGS).promote


def test_a_champion_that_knows_the_holdout_stays_however_good_the_challenger():
    knowing = OF_HIGGS.model_copy(update={"knows_holdout": "was trained on 1 of the holdout's files"})
    chosen = choose(candidate(scores(0.79)), knowing, PRIOR, HIGGS)
    assert not chosen.promote
    assert "but champion 1 was trained on 1 of the holdout's files." in chosen.reason


def test_seconds_that_nobody_took_refuse_nobody():
    assert choose(candidate(scores(0.79), scoring_s=None), OF_HIGGS, PRIOR, HIGGS).promote
    assert choose(candidate(scores(0.79), scoring_s=9.0), champion(scores(0.77), scoring_s=None), PRIOR, HIGGS).promote


def test_one_cluster_that_holds_nearly_everything_is_no_group():
    gate = Gate(
        metric="silhouette", baseline="halves", min_skill=0.1, max_skill=0.9, min_cluster_share=0.05, min_gain=0.01
    )
    halves = Clusters(rows=900, silhouette=0.2, clusters=2, smallest_share=0.5, largest_share=0.5)
    lump = Clusters(rows=900, silhouette=0.8, clusters=3, smallest_share=0.01, largest_share=0.98)
    said = Rated(version=2, errors=lump, columns=["likes_drama"])
    chosen = choose(said, None, {"halves": halves}, gate)
    assert (chosen.promote, "its smallest cluster holds 1.0%, less than the required 5.0%" in chosen.reason) == (
        False,
        True,
    )
