"""Who owns which rows, and which rows nobody trains on."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.pipelines.study import Groups, Shares, StudySpec

OWNER, IS_HOLDOUT, LABEL = "owner", "is_holdout", "label_index"
#: Two draws of one repeat must not be the same draw.
_FOR_OWNERS, _FOR_HOLDOUT = 1, 2


def owned(frame: DataFrame, spec: StudySpec, owners: Shares | Groups, *, seed: int) -> DataFrame:
    """The rows of all owners with ``owner``, ``is_holdout`` and ``label_index`` (place in ``classes``, a double).

    Shares are exact: by chance, the first so many rows are the first owner's. The holdout is ``holdout_share`` of each
    owner's rows of each class. Rows of a group that nobody owns, or of another class, are dropped: the caller counts.
    The same rows and seed make the same cut, in whatever order they come.
    """
    drawn = _by_shares(frame, spec, owners, seed) if isinstance(owners, Shares) else _by_groups(frame, owners)
    place = F.array_position(F.array(*map(F.lit, spec.classes)), F.col(spec.label)).cast("double") - 1
    within = Window.partitionBy(OWNER, spec.label).orderBy(_draw(spec, seed, _FOR_HOLDOUT), *spec.key)
    size = F.count(F.lit(1)).over(Window.partitionBy(OWNER, spec.label))
    held = F.row_number().over(within) <= F.round(size * spec.holdout_share)
    return drawn.where(F.col(OWNER).isNotNull()).withColumns({IS_HOLDOUT: held, LABEL: place}).where(f"{LABEL} >= 0")


def scaled(shares: dict[str, int], rows: int) -> dict[str, int]:
    """The shares of so many rows, as whole numbers that sum up to them (largest remainder)."""
    total = sum(shares.values())
    exact = {owner: rows * share / total for owner, share in shares.items()}
    whole = {owner: int(value) for owner, value in exact.items()}
    most = sorted(shares, key=lambda owner: whole[owner] - exact[owner])
    for owner in most[: rows - sum(whole.values())]:
        whole[owner] += 1
    return whole


def _by_shares(frame: DataFrame, spec: StudySpec, owners: Shares, seed: int) -> DataFrame:
    # One window over all rows: a study has thousands, and shares are exact only of a whole.
    numbered = Window.partitionBy(F.lit(0)).orderBy(_draw(spec, seed, _FOR_OWNERS), *spec.key)
    until, owner = 0, F.lit(None).cast("string")
    for name, rows in reversed(scaled(owners.shares, frame.count()).items()):
        owner = F.when(F.col("place") > until, F.lit(name)).otherwise(owner)
        until += rows
    return frame.withColumn("place", F.row_number().over(numbered)).withColumn(OWNER, owner).drop("place")


def _by_groups(frame: DataFrame, owners: Groups) -> DataFrame:
    owner = F.coalesce(
        *[F.when(F.col(owners.column).isin(*values), F.lit(name)) for name, values in owners.groups.items()]
    )
    return frame.withColumn(OWNER, owner)


def _draw(spec: StudySpec, seed: int, purpose: int) -> Column:
    return F.xxhash64(F.lit(seed), F.lit(purpose), *spec.key)
