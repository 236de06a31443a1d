"""Matrix factors of users and items: of what biases leave of a rating, and of which items a user likes."""

from dataclasses import dataclass

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.recommending.biases import EXPECTED, Biases, clipped
from spark_apps.ml.recommending.columns import ITEM, RATING, USER

_VALUE = "value"
_ADDED = "added"
#: Iterations between checkpoints: ten without one overflowed a task's stack in a JVM without C2, which ended it.
_UNCUT = 5


@dataclass(frozen=True)
class AlsSettings:
    """Of alternating least squares; Spark multiplies ``regularization`` by the ratings of each user and item.

    More than five ``iterations`` need a context with a checkpoint directory.
    ``blocks``: tasks of each half iteration. Starting factors are drawn by block, so it belongs to the result as
    ``seed`` does.
    """

    rank: int
    regularization: float
    iterations: int
    seed: int
    blocks: int = 10


@dataclass(frozen=True)
class ResidualModel:
    """Biases, and factors of what these leave of a rating."""

    biases: Biases
    factors: ALSModel

    def predict(self, pairs: DataFrame, *, bounds: tuple[float, float], column: str = PREDICTION) -> DataFrame:
        """Every row of ``pairs`` with ``column``, clipped to ``bounds``; where user or item is unseen, by biases."""
        parts = self.factors.transform(self.biases.expect(pairs))
        added = F.nanvl(F.col(_ADDED).cast("double"), F.lit(0.0))
        return parts.select(*pairs.columns, clipped(F.col(EXPECTED) + added, bounds).alias(column))


def fit_residuals(train: DataFrame, biases: Biases, settings: AlsSettings) -> ResidualModel:
    """Explicit ALS (Zhou, Wilkinson, Schreiber and Pan, AAIM 2008) of rating less mean and biases.

    Of the ratings themselves it is worse than the biases alone.
    """
    residual = (F.col(RATING) - F.col(EXPECTED)).alias(_VALUE)
    residuals = biases.expect(train).select(USER, ITEM, residual)
    return ResidualModel(biases, _als(settings, residuals).fit(residuals))


def fit_likes(train: DataFrame, settings: AlsSettings, *, at_least: float, alpha: float) -> ALSModel:
    """Implicit ALS (Hu, Koren and Volinsky, ICDM 2008): ratings of ``at_least`` are likes of confidence 1 + ``alpha``.

    Lower ratings count as none. For lists: a model of ratings puts films on top that hardly anyone has seen.
    """
    likes = train.where(F.col(RATING) >= at_least).select(USER, ITEM, F.lit(1.0).alias(_VALUE))
    return _als(settings, likes).setImplicitPrefs(True).setAlpha(alpha).fit(likes)


def _als(settings: AlsSettings, frame: DataFrame) -> ALS:
    if settings.iterations > _UNCUT and frame.sparkSession.sparkContext.getCheckpointDir() is None:
        raise ValueError(f"{settings.iterations} iterations need a checkpoint directory; call setCheckpointDir")
    return ALS(
        rank=settings.rank, regParam=settings.regularization, maxIter=settings.iterations, seed=settings.seed,
        numUserBlocks=settings.blocks, numItemBlocks=settings.blocks, userCol=USER, itemCol=ITEM, ratingCol=_VALUE,
        checkpointInterval=_UNCUT,
        # The other choice drops rows, and errors are then those of the rest.
        coldStartStrategy="nan",
    ).setPredictionCol(_ADDED)  # fmt: skip
