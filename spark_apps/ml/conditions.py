"""What speaks against a model, one function each: why, with the numbers, or an empty text."""

from collections.abc import Mapping

from contracts.pipelines.parts import Gate
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring.metrics import Measures, Probabilities, loss
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss


def unskilled(gained: float, gate: Gate) -> str:
    """A skill that is not worth a model, also one that is not a number."""
    return "" if gained >= gate.min_skill else f"less than the required {gate.min_skill:.1%}"


def too_good(gained: float, gate: Gate) -> str:
    """A skill that only a model has which was told the label, or the rows that it is judged on."""
    if not gained > gate.max_skill:
        return ""
    return (
        f"which is too good to be true: above {gate.max_skill:.1%} (gate.max_skill) a feature knows the label, or the "
        "model the holdout, until somebody has looked"
    )


def too_small(measures: Measures, gate: Gate) -> str:
    """Groups that are none: a silhouette may be high because one of them holds nearly everything."""
    if not isinstance(measures, Clusters) or measures.smallest_share >= gate.min_cluster_share:
        return ""
    return (
        f"its smallest cluster holds {measures.smallest_share:.1%}, less than the required {gate.min_cluster_share:.1%}"
    )


def uncalibrated(measures: Measures, gate: Gate) -> str:
    """Probabilities that do not mean what they say, by more than chance explains on so many rows."""
    if gate.max_excess_ece is None or not isinstance(measures, Probabilities):
        return ""
    excess = measures.ece - measures.ece_limit
    if excess <= gate.max_excess_ece:
        return ""
    return (
        f"its probabilities do not mean what they say: they are {measures.ece:.3f} off on average (ECE), {excess:.3f} "
        f"above the {measures.ece_limit:.3f} that chance explains; {gate.max_excess_ece:.3f} is allowed"
    )


def beaten(measures: Measures, baselines: Mapping[str, Measures], gate: Gate) -> str:
    """A baseline that is as good, by any of the metrics that must be better than everybody's."""
    for metric in gate.must_beat_all_on:
        for name, theirs in baselines.items():
            if not loss(measures, metric) < loss(theirs, metric):
                own, other = (float(getattr(each, metric)) for each in (measures, theirs))
                return f"does not beat {name} on {metric}: {own:.3f} against {other:.3f}"
    return ""


def luck(test: Difference | None) -> str:
    """A better figure that the next rows may take back, or that single rows deny; nothing where that was not tested."""
    if test is None or test.high < 0:
        return ""
    why = "row by row it is worse" if test.low > 0 else "that may be luck"
    return f"{why}: the paired loss differs by {test.low:.4f} to {test.high:.4f} (95 %)"


def unfair(groups: Mapping[str, GroupLoss], beside: str, gate: Gate) -> str:
    """Subgroups that would pay for the gain of all, beside the one who answers for them now; the worst is named.

    The loss of a group must have grown by more than is allowed, and surely: the more groups there are, the more of them
    are worse by chance.
    """
    allowed = gate.max_subgroup_growth
    if allowed is None:
        return ""
    worse = {
        name: group
        for name, group in groups.items()
        if group.against.mean > allowed * group.other and group.against.low_of(len(groups)) > 0
    }
    if not worse:
        return ""
    name, group = max(worse.items(), key=lambda each: _growth(each[1]))
    more = f", and {len(worse) - 1} more of {len(groups)} like it" if len(worse) > 1 else ""
    return (
        f"{name} would pay for it: on its {group.rows:,} rows the loss is {group.loss:.3f} instead of the "
        f"{group.other:.3f} of {beside}, {_growth(group):.1%} more; {allowed:.1%} is allowed{more}"
    )


def slow(own_s: float | None, their_s: float | None, gate: Gate) -> str:
    """Answers that take too many times as long as the champion's; nothing where that was not measured."""
    if gate.max_cost_ratio is None or own_s is None or their_s is None or own_s <= gate.max_cost_ratio * their_s:
        return ""
    return (
        f"it is too slow: its answers for the holdout take {own_s:.2f} s instead of {their_s:.2f} s, "
        f"{own_s / their_s:.2f} times as long; {gate.max_cost_ratio:g} times is allowed"
    )


def _growth(group: GroupLoss) -> float:
    return group.against.mean / group.other if group.other > 0 else float("inf")
