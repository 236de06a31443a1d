"""What a check of drift comes to: a pure function from what was found, and from earlier checks, to what to do."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.losses import LossGrowth

#: ``broken``: the data changed in a way that no training should follow.
State = Literal["stable", "drift", "broken", "not_enough_data"]
Action = Literal["none", "alert", "retrain", "ask"]
#: So many names in a sentence; the report has all.
_NAMED = 5


class Findings(BaseModel):
    """What one check saw. ``breaks`` say in a sentence each what is wrong with the data themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shifts: tuple[Shift, ...] = ()
    loss: LossGrowth | None = None
    breaks: tuple[str, ...] = ()


class DriftDecision(BaseModel):
    """``state`` of this window, what to do about it, and why in a sentence with the numbers that decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State
    action: Action
    reason: str


def decide(found: Findings, policy: DriftPolicy, earlier: Sequence[State]) -> DriftDecision:
    """``earlier`` are the states of the same champion's checks of other windows, newest first.

    Broken data go to a person whatever the policy says. Drift leads to the policy's action when it is confirmed: seen
    in ``confirm.windows`` of the newest ``confirm.of`` windows, this one among them. Windows without enough rows do not
    count.
    """
    if found.breaks:
        reason = f"The data changed, not the world: {_listed(found.breaks)}."
        return DriftDecision(state="broken", action="ask", reason=reason)
    drifted = sorted((shift for shift in found.shifts if shift.is_drift), key=lambda shift: -shift.effect)
    tested = [shift for shift in found.shifts if shift.p is not None]
    if found.loss and found.loss.is_drift:
        return _confirmed(_worse(found.loss), policy, earlier)
    if drifted:
        return _confirmed(_shifted(drifted, len(tested)), policy, earlier)
    if not tested:
        rows = max((shift.window_rows for shift in found.shifts), default=0)
        return DriftDecision(
            state="not_enough_data", action="none",
            reason=f"{rows} rows with values that the champion does not know; {policy.min_rows} are required"
            + (", and enough of the reference's blocks." if policy.block_hours else "."),
        )  # fmt: skip
    return DriftDecision(
        state="stable", action="none",
        reason=f"None of {len(tested)} comparisons is drift; the largest effect is "
        f"{max(shift.effect for shift in tested):.3f}.",
    )  # fmt: skip


def _confirmed(what: str, policy: DriftPolicy, earlier: Sequence[State]) -> DriftDecision:
    counted = [state for state in earlier if state in ("stable", "drift")][: policy.confirm.of - 1]
    seen = 1 + sum(state == "drift" for state in counted)
    if seen >= policy.confirm.windows:
        return DriftDecision(state="drift", action=policy.action, reason=f"{what}.")
    return DriftDecision(
        state="drift", action="none",
        reason=f"{what}; seen in {seen} of the newest {policy.confirm.of} windows, {policy.confirm.windows} are "
        "required.",
    )  # fmt: skip


def _worse(loss: LossGrowth) -> str:
    return (
        f"The champion's mean loss is {loss.now:.4g} on {loss.rows:,} new rows against {loss.holdout:.4g} on its "
        f"holdout, {loss.growth:+.1%} (e-value {loss.evidence:.3g})"
    )


def _shifted(drifted: Sequence[Shift], n_tested: int) -> str:
    said = ", ".join(f"{shift.name} by {shift.effect:.3f}" for shift in drifted[:_NAMED])
    more = f" and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
    return f"{len(drifted)} of {n_tested} comparisons are drift: {said}{more}"


def _listed(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return "; ".join(sentences[:_NAMED]) + more
