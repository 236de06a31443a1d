"""What to train: one typed, frozen spec per ``pipelines/<name>.yaml``, checked before anything starts."""

from contracts.pipelines.reading import PIPELINES, load, load_all, load_readable, load_study, names
from contracts.pipelines.spec import PipelineSpec

__all__ = ["PIPELINES", "PipelineSpec", "load", "load_all", "load_readable", "load_study", "names"]
