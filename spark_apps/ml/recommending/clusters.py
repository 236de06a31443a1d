"""Groups of users who like the same genres."""

from dataclasses import dataclass

from pyspark.ml.clustering import KMeans, KMeansModel
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark_apps.ml.recommending.columns import ITEM, RATING, USER

#: What MovieLens writes for a film that nobody has given a genre.
NO_GENRES = "(no genres listed)"
PROFILE = "profile"
CLUSTER = "cluster"
_FEATURES = "features"
#: Deviations that sum to less are rounding: the user gives every item the same rating.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Profiles:
    """``of_users``: ``user_id, profile``, an array with one number per genre."""

    genres: tuple[str, ...]
    of_users: DataFrame


@dataclass(frozen=True)
class Cluster:
    """Users of one label of the model, and their mean profile by genre."""

    label: int
    users: int
    mean_profile: dict[str, float]


@dataclass(frozen=True)
class Clusters:
    """``clusters`` that have users, largest first; ``of_users`` is ``user_id, cluster``.

    ``silhouette``: -1 to 1, of squared distances; None where all users are in one cluster.
    """

    model: KMeansModel
    of_users: DataFrame
    clusters: tuple[Cluster, ...]
    silhouette: float | None


def profiles(ratings: DataFrame, items: DataFrame) -> Profiles:
    """What users like more (above 0) and less than the rest of what they rate; ``items`` is ``item_id, genres``.

    A genre's number is the sum of rating less user's mean over its items, divided by the sum of all the user's such
    deviations without sign: -1 to 1. An item of m genres gives each 1/m; one without a genre counts in the mean only,
    and a user whose ratings are all the same has zeros. ``genres`` is text such as ``Action|Drama``.
    """
    named = F.array_distinct(F.split("genres", r"\|"))
    listed = items.select(ITEM, F.array_remove(F.array_remove(named, NO_GENRES), "").alias("genres"))
    genres = tuple(sorted(row[0] for row in listed.select(F.explode("genres")).distinct().collect()))
    if not genres:
        raise ValueError("no item has a genre, so users cannot be told apart by them")
    own = Window.partitionBy(USER).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    deviation = (F.col(RATING) - F.avg(RATING).over(own)).alias("deviation")
    rows = ratings.select(USER, ITEM, deviation).join(listed, on=ITEM, how="left")
    every = F.sum(F.abs("deviation"))
    share = F.col("deviation") / F.size("genres")
    liked = (F.sum(F.when(F.array_contains("genres", genre), share).otherwise(0.0)) for genre in genres)
    profile = F.array(*(F.when(every > _NOTHING, each / every).otherwise(0.0) for each in liked))
    return Profiles(genres, rows.groupBy(USER).agg(profile.alias(PROFILE)))


def fit(found: Profiles, *, clusters: int, seed: int) -> Clusters:
    """k-means of profiles (start: Bahmani et al., VLDB 2012) and the silhouette of the result (Rousseeuw, 1987)."""
    # Read by each iteration, by the sizes and by the silhouette.
    vectors = found.of_users.withColumn(_FEATURES, array_to_vector(F.col(PROFILE))).persist()
    model = KMeans(k=clusters, seed=seed, featuresCol=_FEATURES, predictionCol=CLUSTER).fit(vectors)
    placed = model.transform(vectors)
    means = [F.avg(F.col(PROFILE)[n]).alias(genre) for n, genre in enumerate(found.genres)]
    rows = placed.groupBy(CLUSTER).agg(F.count("*").alias("users"), *means).collect()
    ordered = sorted(rows, key=lambda row: (-row["users"], row[CLUSTER]))
    made = tuple(Cluster(row[CLUSTER], row["users"], {genre: row[genre] for genre in found.genres}) for row in ordered)
    silhouette = None
    if len(made) > 1:
        silhouette = ClusteringEvaluator(featuresCol=_FEATURES, predictionCol=CLUSTER).evaluate(placed)
    vectors.unpersist()
    return Clusters(model, placed.select(USER, CLUSTER), made, silhouette)
