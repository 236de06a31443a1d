"""Which model serves from now on: a pure function that returns its choice and the reason for it."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from contracts.pipelines import Gate
from spark_apps.ml.metrics import Errors, skill


class Rated(BaseModel):
    """A model version, the feature columns it reads, and its errors on the holdout: None where that lacks a column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    errors: Errors | None
    trained_until: datetime
    columns: list[str]


class Choice(BaseModel):
    """``promote``: the candidate becomes champion. ``reason`` is a sentence with the numbers that decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promote: bool
    reason: str


def choose(
    candidate: Rated, champion: Rated | None, baselines: Mapping[str, Errors], gate: Gate, *, holdout_from: datetime
) -> Choice:
    """Compare errors made on the same holdout rows: first with the baselines, then with the champion.

    A champion that was trained on rows of the holdout cannot be compared on them, so it stays.
    """
    if champion is not None and champion.version == candidate.version:
        return Choice(promote=False, reason=f"Version {candidate.version} is the champion already.")
    passes, found = _gate(candidate, baselines, gate)
    if not passes or champion is None:
        return Choice(promote=passes, reason=f"First champion. {found}." if passes else f"{found}.")
    if champion.errors is None:
        why = f"champion {champion.version} reads {', '.join(champion.columns)}, not all of which are here"
        return Choice(promote=True, reason=f"{found}; {why}, so the baselines decide.")
    if champion.trained_until >= holdout_from:
        known = f"champion {champion.version} was trained on rows until {champion.trained_until.isoformat()}"
        return Choice(promote=False, reason=f"{found}, but {known}; the holdout begins {holdout_from.isoformat()}.")
    gain = skill(_error(candidate, gate), _error(champion, gate))
    is_gain = gain > 0 and gain >= gate.min_gain
    needed = "" if is_gain else f", less than the required {gate.min_gain:.1%}"
    compared = f"a gain of {gain:.1%} over champion {champion.version} with {_error(champion, gate):.3f}{needed}"
    return Choice(promote=is_gain, reason=f"{found}; {compared}.")


def _gate(candidate: Rated, baselines: Mapping[str, Errors], gate: Gate) -> tuple[bool, str]:
    """Whether the candidate passes against the baselines, and what was found."""
    who = f"Version {candidate.version}"
    if candidate.errors is None:
        return False, f"{who} reads {', '.join(candidate.columns)}, not all of which are here"
    error, against = _error(candidate, gate), float(getattr(baselines[gate.baseline], gate.metric))
    found = f"{gate.metric} {error:.3f} against {gate.baseline} {against:.3f}, a skill of {skill(error, against):.1%}"
    if not skill(error, against) >= gate.min_skill:
        return False, f"{who} has {found}, less than the required {gate.min_skill:.1%}"
    for metric in gate.must_beat_all_on:
        own = float(getattr(candidate.errors, metric))
        for name, errors in baselines.items():
            other = float(getattr(errors, metric))
            if not own < other:
                return False, f"{who} does not beat {name} on {metric}: {own:.3f} against {other:.3f}"
    return True, f"{who} has {found}"


def _error(rated: Rated, gate: Gate) -> float:
    return float(getattr(rated.errors, gate.metric))
