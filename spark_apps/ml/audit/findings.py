"""What an audit found, and the error that is made of it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from contracts.errors import QualityGateError

Kind = Literal[
    "determining_feature", "functional_dependency", "shared_rows", "near_duplicates", "time_travel", "look_ahead",
    "repeated_target", "early_fit",
]  # fmt: skip
Task = Literal["classification", "regression"]


class Finding(BaseModel):
    """One reason to doubt: the columns it is about, the numbers it rests on, and a sentence for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Kind
    columns: tuple[str, ...]
    evidence: dict[str, float]
    sentence: str


def refuse(attempted: str, findings: Sequence[Finding]) -> None:
    """Raise QualityGateError where there are findings, with the sentences of all of them."""
    if findings:
        raise QualityGateError(
            attempted, found="; ".join(finding.sentence for finding in findings), required="data without such leaks",
            next_step="Drop the columns or rows that are named, or fit on the training rows only; then train again.",
        )  # fmt: skip
