"""Candidate, champion and baselines on the same rows: everything that the choice between them rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from spark_apps.ml import families
from spark_apps.ml.families import Judged
from spark_apps.ml.measuring import cost, metrics
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss


@dataclass(frozen=True)
class Compared:
    """What was found about each who could answer, by name; baselines are among ``errors`` only.

    ``against_champion`` and ``subgroups`` are the candidate's; the latter beside the champion, or beside the gate's
    baseline where there is none to compare with. ``scoring_s`` is empty where the gate does not ask.
    """

    candidate: str
    errors: dict[str, Measures]
    against_baseline: dict[str, Difference]
    against_champion: Difference | None
    subgroups: dict[str, GroupLoss]
    scoring_s: dict[str, float]

    def evidence(self, spec: PipelineSpec) -> dict[str, Any]:
        """For the ledger and for people; ``subgroups`` in words: the loss, that instead of which it would come, 95 %
        of what lies between.
        """
        return {
            "errors": metrics.table(self.errors, spec),
            "against_baseline": {name: test.model_dump() for name, test in self.against_baseline.items()},
            "against_champion": self.against_champion and self.against_champion.model_dump(),
            "subgroups": {
                name: {
                    "rows": group.rows, "loss": group.loss, "instead_of": group.other,
                    "low": group.against.low, "high": group.against.high,
                }
                for name, group in self.subgroups.items()
            },
            "scoring_s": self.scoring_s,
        }  # fmt: skip


def compare(
    train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec, *, candidate: str
) -> Compared:
    """``models`` are the candidate and the champion by name, as far as they can answer for these rows."""
    champion = next((name for name in models if name != candidate), None)
    judged = families.judge(train, holdout, models, spec)
    found = compared(judged, judged.measures(), spec, candidate=candidate, champion=champion)
    if spec.gate.max_cost_ratio is None or len(models) < 2:
        return found
    return replace(found, scoring_s=cost.seconds(families.asked(train, holdout, models, spec)))


def compared(
    judged: Judged, errors: dict[str, Measures], spec: PipelineSpec, *, candidate: str, champion: str | None
) -> Compared:
    """The same, without seconds, of two among those who were judged; ``errors`` are everybody's measures."""
    baseline = spec.gate.baseline
    names = [name for name in (candidate, champion) if name in errors]
    is_pair = len(names) > 1 and champion is not None
    return Compared(
        candidate=candidate, errors=errors,
        against_baseline={str(name): judged.against(str(name), baseline) for name in names},
        against_champion=judged.against(candidate, str(champion)) if is_pair else None,
        subgroups=judged.by_subgroup(candidate, champion or baseline) if candidate in errors else {},
        scoring_s={},
    )  # fmt: skip
