"""Which model serves from now on: a pure function that returns its choice and the reason for it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from contracts.pipelines.parts import Gate
from spark_apps.ml import conditions
from spark_apps.ml.measuring.metrics import Measures, loss, skill
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss


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
    #: By ``column=value``, beside the champion; beside the gate's baseline where no champion can be compared.
    subgroups: dict[str, GroupLoss] = {}
    #: Seconds that its answers for the holdout take, by the clock of this run; None where nobody asked.
    scoring_s: float | None = None
    #: Why it cannot be judged on this holdout, because it was trained on rows of it; empty where it can.
    knows_holdout: str = ""


class Choice(BaseModel):
    """``promote``: the candidate becomes champion. ``reason`` is a sentence with the numbers that decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promote: bool
    reason: str


def choose(candidate: Rated, champion: Rated | None, baselines: Mapping[str, Measures], gate: Gate) -> Choice:
    """Compare measures on the same holdout rows; the first condition that is not met is the reason to refuse.

    1. Can it be judged here: it can read the rows, was trained on none of them, and is not too good to be true.
    2. Is it a model: skill, sizes of clusters, probabilities that mean what they say, better than every baseline, and
       that not by luck.
    3. Is it better than the champion, by the gain that is asked for, and not by luck.
    4. What is the price: no subgroup pays for the gain, and its answers do not cost too much.

    A champion that was trained on rows of the holdout cannot be compared on them, so it stays. One that cannot read
    them leaves the choice to 1, 2 and its subgroups beside the baseline, as the first of all champions does.
    """
    if champion is not None and champion.version == candidate.version:
        return Choice(promote=False, reason=f"Version {candidate.version} is the champion already.")
    passes, found = _is_a_model(candidate, baselines, gate)
    if not passes:
        return Choice(promote=False, reason=f"{found}.")
    if champion is None or candidate.errors is None or champion.errors is None:
        if unfair := conditions.unfair(candidate.subgroups, gate.baseline, gate):
            return Choice(promote=False, reason=f"{found}, but {unfair}.")
        if champion is None:
            return Choice(promote=True, reason=f"First champion. {found}.")
        why = f"champion {champion.version} reads {', '.join(champion.columns)}, not all of which are here"
        return Choice(promote=True, reason=f"{found}; {why}, so the baselines decide.")
    if champion.knows_holdout:
        return Choice(promote=False, reason=f"{found}, but champion {champion.version} {champion.knows_holdout}.")
    gain = skill(loss(candidate.errors, gate.metric), loss(champion.errors, gate.metric))
    complaint = _not_worth_it(candidate, champion, gain, gate)
    theirs = float(getattr(champion.errors, gate.metric))
    compared = f"a gain of {gain:.1%} over champion {champion.version} with {theirs:.3f}{complaint}"
    return Choice(promote=not complaint, reason=f"{found}; {compared}.")


def _is_a_model(candidate: Rated, baselines: Mapping[str, Measures], gate: Gate) -> tuple[bool, str]:
    """Whether the candidate can be judged and is worth having at all, and what was found."""
    who, measures = f"Version {candidate.version}", candidate.errors
    if measures is None:
        return False, f"{who} reads {', '.join(candidate.columns)}, not all of which are here"
    if candidate.knows_holdout:
        return False, f"{who} {candidate.knows_holdout}"
    own, other = (float(getattr(each, gate.metric)) for each in (measures, baselines[gate.baseline]))
    gained = skill(loss(measures, gate.metric), loss(baselines[gate.baseline], gate.metric))
    found = f"{who} has {gate.metric} {own:.3f} against {gate.baseline} {other:.3f}, a skill of {gained:.1%}"
    if why := conditions.too_good(gained, gate) or conditions.unskilled(gained, gate):
        return False, f"{found}, {why}"
    # Before the baselines: probabilities that exaggerate lose to them, and what is wrong is that they exaggerate.
    if why := conditions.too_small(measures, gate) or conditions.uncalibrated(measures, gate):
        return False, f"{found}, but {why}"
    if why := conditions.beaten(measures, baselines, gate):
        return False, f"{who} {why}"
    if why := conditions.luck(candidate.against_baseline):
        return False, f"{found}, but {why}"
    return True, found


def _not_worth_it(candidate: Rated, champion: Rated, gain: float, gate: Gate) -> str:
    """What speaks against the change, as the end of a sentence about the gain; empty where nothing does."""
    if not (gain > 0 and gain >= gate.min_gain):
        return f", less than the required {gate.min_gain:.1%}"
    why = (
        conditions.luck(candidate.against_champion)
        or conditions.unfair(candidate.subgroups, f"champion {champion.version}", gate)
        or conditions.slow(candidate.scoring_s, champion.scoring_s, gate)
    )
    return f", but {why}" if why else ""
