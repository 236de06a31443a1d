"""What a training leaves: the model, the columns it reads, everybody's measures and what led to the choice."""

from dataclasses import dataclass
from typing import Any

from pyspark.ml import PipelineModel

from spark_apps.ml.clustering.profiles import Profile
from spark_apps.ml.measuring.evidence import Evidence
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.trials import Trial

#: Name of the model that was chosen, in the table of measures.
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Fitted:
    """The model that was chosen, the columns it reads, and what led to it.

    ``errors`` by predictor on the holdout: baselines, then the algorithms that were not chosen, then the candidate.
    """

    model: PipelineModel
    columns: list[str]
    errors: dict[str, Measures]
    algorithm: str
    chosen: dict[str, Any]
    trials: list[Trial]
    evidence: Evidence | None = None
    #: Of groups, what each of them is like in the training part.
    profiles: tuple[Profile, ...] = ()
