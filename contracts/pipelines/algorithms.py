"""Algorithms by name, with their hyperparameters: one value each, or what a search may choose from.

Names and meanings of hyperparameters are those of Spark ML, in snake case.
"""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from contracts.pipelines.parts import SPEC

Task = Literal["regression", "classification", "clustering", "recommendation"]


_T = TypeVar("_T")


class Range(BaseModel, Generic[_T]):
    """Any number from ``low`` to ``high``, for random and Bayesian search; ``log`` spreads tries over magnitudes."""

    model_config = SPEC

    low: _T
    high: _T
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = float(self.low), float(self.high)  # type: ignore[arg-type]
        if not low < high or (self.log and low <= 0):
            raise ValueError("low must be below high, and above 0 where log is true")
        return self


Count = Annotated[int, Field(ge=1, strict=True)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Mix = Annotated[float, Field(ge=0.0, le=1.0)]
Depth = Annotated[int, Field(ge=1, le=30, strict=True)]
Bins = Annotated[int, Field(ge=2, strict=True)]
_SEVERAL = Field(min_length=2)

# One value, several to choose from, or a range; written out, because pydantic does not look into an alias's parameter.
AnyCount = Count | Annotated[tuple[Count, ...], _SEVERAL] | Range[Count]
AnyNotNegative = NotNegative | Annotated[tuple[NotNegative, ...], _SEVERAL] | Range[NotNegative]
AnyPositive = Positive | Annotated[tuple[Positive, ...], _SEVERAL] | Range[Positive]
AnyShare = Share | Annotated[tuple[Share, ...], _SEVERAL] | Range[Share]
AnyMix = Mix | Annotated[tuple[Mix, ...], _SEVERAL] | Range[Mix]
AnyDepth = Depth | Annotated[tuple[Depth, ...], _SEVERAL] | Range[Depth]
AnyBins = Bins | Annotated[tuple[Bins, ...], _SEVERAL] | Range[Bins]


class LogisticRegression(BaseModel):
    """Binomial logistic regression."""

    model_config = SPEC

    name: Literal["logistic_regression"]
    reg_param: AnyNotNegative = 0.0
    elastic_net_param: AnyMix = 0.0
    max_iter: AnyCount = 100


class LinearSvc(BaseModel):
    """Linear support vector machine. It has no probabilities: its margin becomes one by a logistic function."""

    model_config = SPEC

    name: Literal["linear_svc"]
    reg_param: AnyNotNegative = 0.0
    max_iter: AnyCount = 100


class RandomForest(BaseModel):
    """Random forest, for classes or numbers."""

    model_config = SPEC

    name: Literal["random_forest"]
    num_trees: AnyCount = 20
    max_depth: AnyDepth = 5
    min_instances_per_node: AnyCount = 1
    max_bins: AnyBins = 32
    subsampling_rate: AnyShare = 1.0
    #: Features that a split chooses among; ``auto`` is ``sqrt`` for classes, ``onethird`` for numbers.
    feature_subset_strategy: Literal["auto", "all", "onethird", "sqrt", "log2"] = "auto"


class Gbt(BaseModel):
    """Gradient-boosted trees, for two classes or numbers."""

    model_config = SPEC

    name: Literal["gbt"]
    max_iter: AnyCount = 20
    max_depth: AnyDepth = 5
    step_size: AnyShare = 0.1
    min_instances_per_node: AnyCount = 1
    max_bins: AnyBins = 32
    subsampling_rate: AnyShare = 1.0


class NaiveBayes(BaseModel):
    """Naive Bayes. All but the Gaussian need features that are never negative."""

    model_config = SPEC

    name: Literal["naive_bayes"]
    model_type: Literal["gaussian", "multinomial", "complement", "bernoulli"] = "gaussian"
    smoothing: AnyPositive = 1.0


class LinearRegression(BaseModel):
    """Least squares with elastic net."""

    model_config = SPEC

    name: Literal["linear_regression"]
    reg_param: AnyNotNegative = 0.0
    elastic_net_param: AnyMix = 0.0
    max_iter: AnyCount = 100


class GeneralizedLinear(BaseModel):
    """Generalized linear model. With a log link the label's own lags enter as log1p, because the link multiplies."""

    model_config = SPEC

    name: Literal["generalized_linear"]
    family: Literal["gaussian", "poisson", "gamma"]
    link: Literal["identity", "log"]
    reg_param: AnyNotNegative = 0.0
    max_iter: AnyCount = 25

    @model_validator(mode="after")
    def _can_be_fitted(self) -> Self:
        if self.link == "identity" and self.family != "gaussian":
            # Spark logs that the solver failed, and returns a model all the same.
            raise ValueError(f"family {self.family} needs link log: with identity its mean may turn negative")
        return self


class Xgboost(BaseModel):
    """Boosted trees of xgboost, for two classes or numbers. Hyperparameters are called as xgboost calls them."""

    model_config = SPEC

    name: Literal["xgboost"]
    n_estimators: AnyCount = 100
    max_depth: AnyDepth = 6
    learning_rate: AnyShare = 0.3
    subsample: AnyShare = 1.0
    colsample_bytree: AnyShare = 1.0
    min_child_weight: AnyNotNegative = 1.0
    reg_lambda: AnyNotNegative = 1.0
    #: What numbers are fitted for: the mean, or the median. Classes are always fitted for their log loss.
    objective: Literal["squared_error", "absolute_error"] = "squared_error"


class KMeans(BaseModel):
    """k-means, started ``starts`` times by k-means||: the result with the least squared distances to its centres."""

    model_config = SPEC

    name: Literal["kmeans"]
    k: AnyBins
    max_iter: AnyCount = 50
    #: One start often ends in groups that could be better.
    starts: Count = 5


class BisectingKMeans(BaseModel):
    """k-means that divides the largest cluster until there are ``k``."""

    model_config = SPEC

    name: Literal["bisecting_kmeans"]
    k: AnyBins
    max_iter: AnyCount = 50


class GaussianMixture(BaseModel):
    """Mixture of ``k`` normal distributions, each with its own covariance."""

    model_config = SPEC

    name: Literal["gaussian_mixture"]
    k: AnyBins
    max_iter: AnyCount = 100


class ImplicitAls(BaseModel):
    """Alternating least squares of likes, for lists; a like is a rating of ``features.liked_from`` or more."""

    model_config = SPEC

    name: Literal["implicit_als"]
    rank: AnyCount = 10
    reg_param: AnyNotNegative = 0.1
    #: How much more a like says than a missing rating.
    alpha: AnyPositive = 1.0
    max_iter: AnyCount = 10


class ResidualAls(BaseModel):
    """Explicit alternating least squares of what item and user biases leave of a rating, for ratings."""

    model_config = SPEC

    name: Literal["residual_als"]
    rank: AnyCount = 10
    reg_param: AnyNotNegative = 0.1
    max_iter: AnyCount = 10


Algorithm = Annotated[
    LogisticRegression
    | LinearSvc
    | RandomForest
    | Gbt
    | NaiveBayes
    | LinearRegression
    | GeneralizedLinear
    | Xgboost
    | KMeans
    | BisectingKMeans
    | GaussianMixture
    | ImplicitAls
    | ResidualAls,
    Field(discriminator="name"),
]

#: What each algorithm can do.
TASKS: dict[str, tuple[Task, ...]] = {
    "logistic_regression": ("classification",),
    "linear_svc": ("classification",),
    "random_forest": ("classification", "regression"),
    "gbt": ("classification", "regression"),
    "naive_bayes": ("classification",),
    "linear_regression": ("regression",),
    "generalized_linear": ("regression",),
    "xgboost": ("classification", "regression"),
    "kmeans": ("clustering",),
    "bisecting_kmeans": ("clustering",),
    "gaussian_mixture": ("clustering",),
    "implicit_als": ("recommendation",),
    "residual_als": ("recommendation",),
}


def hyperparameters(algorithm: Algorithm) -> dict[str, Any]:
    """Every hyperparameter by name: a value, a tuple of values or a Range to choose from."""
    return {name: getattr(algorithm, name) for name in type(algorithm).model_fields if name != "name"}


def is_searched(algorithm: Algorithm) -> bool:
    """Whether any hyperparameter is left to a search."""
    return any(isinstance(value, tuple | Range) for value in hyperparameters(algorithm).values())


def combinations(algorithm: Algorithm) -> Iterator[dict[str, Any]]:
    """Every combination of listed values, the last hyperparameter changing first; Ranges have no such list."""
    given = hyperparameters(algorithm)
    lists = [value if isinstance(value, tuple) else (value,) for value in given.values()]
    for values in product(*lists):
        yield dict(zip(given, values, strict=True))
