"""What to train: one typed, frozen spec per ``pipelines/<name>.yaml``, checked before anything starts."""

from contracts.pipelines.reading import PIPELINES, load, load_all, names
from contracts.pipelines.spec import CONSTANT, PipelineSpec

__all__ = ["CONSTANT", "PIPELINES", "PipelineSpec", "load", "load_all", "names"]
