"""From feature columns to the vector that an estimator sees. Everything that is learned here is part of the model."""

from typing import Any

from pyspark.ml import Estimator, Transformer
from pyspark.ml.feature import Imputer, OneHotEncoder, SQLTransformer, StandardScaler, StringIndexer, VectorAssembler

from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm
from spark_apps.ml import selection

#: Name of the vector.
VECTOR = "features"
_TREES = ("random_forest", "gbt", "xgboost")


def stages(spec: PipelineSpec, columns: list[str], algorithm: Algorithm) -> list[Estimator[Any] | Transformer]:
    """Stages that add VECTOR to rows that hold ``columns``, in the form that suits the algorithm.

    Counts become log1p under a log link, because that multiplies (raw lags doubled the error on traffic volumes).
    Codes and categories are one column each for trees, and one column per value for the others; a value that was
    never seen in training is a value of its own there, and all zeros here.
    """
    asked = getattr(spec.features, "select", None)
    if asked is None:
        return _vector(spec, columns, algorithm, VECTOR)
    return [*_vector(spec, columns, algorithm, "unselected"), *selection.stages(asked, spec, "unselected", VECTOR)]


def _vector(
    spec: PipelineSpec, columns: list[str], algorithm: Algorithm, into: str
) -> list[Estimator[Any] | Transformer]:
    categories = [c for c in columns if c in spec.features.categories]
    codes = [c for c in columns if c in spec.features.codes]
    numbers = [c for c in columns if c not in (*categories, *codes)]
    made, plain = _numbers(spec, numbers, algorithm)
    indexed = [f"index_{c}" for c in categories]
    if categories:
        made.append(StringIndexer(inputCols=categories, outputCols=indexed, handleInvalid="keep"))
    if algorithm.name in _TREES:
        return [*made, _assembled([*plain, *codes, *indexed], into)]
    one_hot = [f"is_{c}" for c in (*codes, *categories)]
    if one_hot:
        made.append(OneHotEncoder(inputCols=[*codes, *indexed], outputCols=one_hot, handleInvalid="keep"))
    if algorithm.name != "generalized_linear" or not plain:
        return [*made, _assembled([*plain, *one_hot], into)]
    # The others standardize by themselves. A constant column becomes 0 and not a singular matrix.
    made += [_assembled(plain, "assembled"), StandardScaler(inputCol="assembled", outputCol="scaled", withMean=True)]
    return [*made, _assembled(["scaled", *one_hot], into)]


def _numbers(
    spec: PipelineSpec, columns: list[str], algorithm: Algorithm
) -> tuple[list[Estimator[Any] | Transformer], list[str]]:
    """Stages that make the numbers a model sees, and their names: as they are, as log1p, filled up, and products."""
    has_log_link = getattr(algorithm, "link", None) == "log"
    logged = {*getattr(spec.features, "logs", ()), *(spec.features.counts if has_log_link else ())}
    names = {c: f"log_{c}" if c in logged else f"in_{c}" for c in columns}
    said = [f"{f'log1p({c})' if c in logged else f'double({c})'} AS {name}" for c, name in names.items()]
    made: list[Estimator[Any] | Transformer] = [SQLTransformer(statement=_select(said))]
    if impute := getattr(spec.features, "impute", None):
        filled = {c: f"full_{name}" for c, name in names.items()}
        made.append(Imputer(strategy=impute, inputCols=list(names.values()), outputCols=list(filled.values())))
        names = filled
    if pairs := getattr(spec.features, "products", ()):
        # Of what stands in the vector: after the logarithm, and filled up.
        times = {f"product_{a}_{b}": f"{names[a]} * {names[b]}" for a, b in pairs}
        made.append(SQLTransformer(statement=_select([f"{how} AS {name}" for name, how in times.items()])))
        return made, [*names.values(), *times]
    return made, list(names.values())


def _select(said: list[str]) -> str:
    return f"SELECT {', '.join(['*', *said])} FROM __THIS__"


def _assembled(columns: list[str], name: str) -> VectorAssembler:
    return VectorAssembler(inputCols=columns, outputCol=name, handleInvalid="error")
