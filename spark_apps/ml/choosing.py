"""Which model serves from now on: a pure function that returns its choice and the reason for it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from contracts.pipelines.parts import Gate
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring.metrics import Measures, loss, skill
from spark_apps.ml.measuring.paired import Difference


class Rated(BaseModel):
    """A model version, the columns it reads, and its measures on the holdout: None where that lacks a column.

    ``against_baseline`` is the paired test beside the gate's baseline, ``against_champion`` that beside the champion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    errors: Measures | None
    columns: list[str]
    against_baseline: Difference | None = None
    against_champion: Difference | None = None
    #: Why it cannot be judged on this holdout, because it was trained on rows of it; empty where it can.
    knows_holdout: str = ""


class Choice(BaseModel):
    """``promote``: the candidate becomes champion. ``reason`` is a sentence with the numbers that decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promote: bool
    reason: str


def choose(candidate: Rated, champion: Rated | None, baselines: Mapping[str, Measures], gate: Gate) -> Choice:
    """Compare measures on the same holdout rows: first with the baselines, then with the champion.

    A champion that was trained on rows of the holdout cannot be compared on them, so it stays.
    """
    if champion is not None and champion.version == candidate.version:
        return Choice(promote=False, reason=f"Version {candidate.version} is the champion already.")
    passes, found = _gate(candidate, baselines, gate)
    if not passes or champion is None:
        return Choice(promote=passes, reason=f"First champion. {found}." if passes else f"{found}.")
    if candidate.errors is None or champion.errors is None:
        why = f"champion {champion.version} reads {', '.join(champion.columns)}, not all of which are here"
        return Choice(promote=True, reason=f"{found}; {why}, so the baselines decide.")
    if champion.knows_holdout:
        return Choice(promote=False, reason=f"{found}, but champion {champion.version} {champion.knows_holdout}.")
    gain = skill(loss(candidate.errors, gate.metric), loss(champion.errors, gate.metric))
    is_gain = gain > 0 and gain >= gate.min_gain
    needed = "" if is_gain else f", less than the required {gate.min_gain:.1%}"
    if is_gain and (luck := _luck(candidate.against_champion)):
        is_gain, needed = False, f", but {luck}"
    theirs = float(getattr(champion.errors, gate.metric))
    compared = f"a gain of {gain:.1%} over champion {champion.version} with {theirs:.3f}{needed}"
    return Choice(promote=is_gain, reason=f"{found}; {compared}.")


def _gate(candidate: Rated, baselines: Mapping[str, Measures], gate: Gate) -> tuple[bool, str]:
    """Whether the candidate passes against the baselines, and what was found."""
    who = f"Version {candidate.version}"
    if candidate.errors is None:
        return False, f"{who} reads {', '.join(candidate.columns)}, not all of which are here"
    own, other = (float(getattr(each, gate.metric)) for each in (candidate.errors, baselines[gate.baseline]))
    gained = skill(loss(candidate.errors, gate.metric), loss(baselines[gate.baseline], gate.metric))
    found = f"{gate.metric} {own:.3f} against {gate.baseline} {other:.3f}, a skill of {gained:.1%}"
    if not gained >= gate.min_skill:
        return False, f"{who} has {found}, less than the required {gate.min_skill:.1%}"
    if small := _too_small(candidate.errors, gate):
        return False, f"{who} has {found}, but {small}"
    if luck := _luck(candidate.against_baseline):
        return False, f"{who} has {found}, but {luck}"
    for metric in gate.must_beat_all_on:
        for name, measures in baselines.items():
            if not loss(candidate.errors, metric) < loss(measures, metric):
                own, other = (float(getattr(each, metric)) for each in (candidate.errors, measures))
                return False, f"{who} does not beat {name} on {metric}: {own:.3f} against {other:.3f}"
    return True, f"{who} has {found}"


def _too_small(measures: Measures, gate: Gate) -> str:
    """Why groups are none: a silhouette may be high because one of them holds nearly everything."""
    if not isinstance(measures, Clusters) or measures.smallest_share >= gate.min_cluster_share:
        return ""
    return (
        f"its smallest cluster holds {measures.smallest_share:.1%}, less than the required {gate.min_cluster_share:.1%}"
    )


def _luck(test: Difference | None) -> str:
    """Why a better figure may be luck; empty where it is not, or was not tested."""
    if test is None or test.high < 0:
        return ""
    return f"that may be luck: the paired loss differs by {test.low:.4f} to {test.high:.4f} (95 %)"
