"""From feature columns to the vector that an estimator sees. Everything that is learned here is part of the model."""

from typing import Any

from pyspark.ml import Estimator, Transformer
from pyspark.ml.feature import Imputer, OneHotEncoder, SQLTransformer, StandardScaler, StringIndexer, VectorAssembler

from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm

#: Name of the vector.
VECTOR = "features"
_TREES = ("random_forest", "gbt")


def stages(spec: PipelineSpec, columns: list[str], algorithm: Algorithm) -> list[Estimator[Any] | Transformer]:
    """Stages that add VECTOR to rows that hold ``columns``, in the form that suits the algorithm.

    Counts become log1p under a log link, because that multiplies (raw lags doubled the error on traffic volumes).
    Codes and categories are one column each for trees, and one column per value for the others; a value that was
    never seen in training is a value of its own there, and all zeros here.
    """
    has_log_link = getattr(algorithm, "link", None) == "log"
    logs = [c for c in columns if c in spec.features.counts and has_log_link]
    categories = [c for c in columns if c in spec.features.categories]
    codes = [c for c in columns if c in spec.features.codes]
    numbers = [c for c in columns if c not in (*logs, *categories, *codes)]
    plain = [*(f"log_{c}" for c in logs), *(f"in_{c}" for c in numbers)]
    said = [*(f"log1p({c}) AS log_{c}" for c in logs), *(f"double({c}) AS in_{c}" for c in numbers)]
    select = SQLTransformer(statement=f"SELECT {', '.join(['*', *said])} FROM __THIS__")
    made: list[Estimator[Any] | Transformer] = [select]
    if impute := getattr(spec.features, "impute", None):
        filled = [f"full_{c}" for c in plain]
        made.append(Imputer(strategy=impute, inputCols=plain, outputCols=filled))
        plain = filled
    indexed = [f"index_{c}" for c in categories]
    if categories:
        made.append(StringIndexer(inputCols=categories, outputCols=indexed, handleInvalid="keep"))
    if algorithm.name in _TREES:
        return [*made, _assembled([*plain, *codes, *indexed], VECTOR)]
    one_hot = [f"is_{c}" for c in (*codes, *categories)]
    if one_hot:
        made.append(OneHotEncoder(inputCols=[*codes, *indexed], outputCols=one_hot, handleInvalid="keep"))
    if algorithm.name != "generalized_linear" or not plain:
        return [*made, _assembled([*plain, *one_hot], VECTOR)]
    # The others standardize by themselves. A constant column becomes 0 and not a singular matrix.
    made += [_assembled(plain, "assembled"), StandardScaler(inputCol="assembled", outputCol="scaled", withMean=True)]
    return [*made, _assembled(["scaled", *one_hot], VECTOR)]


def _assembled(columns: list[str], name: str) -> VectorAssembler:
    return VectorAssembler(inputCols=columns, outputCol=name, handleInvalid="error")
