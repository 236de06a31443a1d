"""Reasons to doubt a training before it begins: leaks of the label, of the holdout, and of the future.

Every check returns findings, none where nothing was found, but ``columns_looking_ahead``, which returns the columns;
``refuse`` makes an error of findings. Numbers alone leave the cluster, except for the probe of ``early_fits``.
"""

from spark_apps.ml.audit.early import early_fits
from spark_apps.ml.audit.findings import Finding, Task, refuse
from spark_apps.ml.audit.future import columns_looking_ahead, looking_ahead
from spark_apps.ml.audit.repeats import repeated_target
from spark_apps.ml.audit.sides import near_duplicates, shared_rows, time_travel
from spark_apps.ml.audit.telling import before_training, determining_features, functional_dependencies

__all__ = [
    "Finding", "Task", "before_training", "columns_looking_ahead", "determining_features", "early_fits",
    "functional_dependencies", "looking_ahead", "near_duplicates", "refuse", "repeated_target", "shared_rows",
    "time_travel",
]  # fmt: skip
