"""Strong tools outside Spark, fitted on exactly the rows that a pipeline's candidate was fitted on.

What each is set to is written down here and was not searched for; the figures stand beside ours of the same run.
"""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from benchmarks.figures import Figures
from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Ratings, RegularSeries

_ALWAYS = {"random_state": 42, "n_jobs": 2, "verbose": -1, "deterministic": True}
#: Boosted trees for the table of collisions, and for the traffic series.
_CLASSES = {
    "n_estimators": 400, "learning_rate": 0.03, "colsample_bytree": 0.6, "subsample": 0.8, "subsample_freq": 1,
    "min_child_samples": 40,
}  # fmt: skip
_SERIES = {"n_estimators": 500, "learning_rate": 0.05, "num_leaves": 63, "objective": "regression_l1"}


def compare(spec: PipelineSpec, candidate: dict[str, Any], figures: Figures) -> None:
    """Fit the peer of this pipeline on the rows of ``candidate.json`` and add its figures; others have no peer."""
    rows = pd.concat(map(pd.read_parquet, sorted(Path(candidate["snapshot"]["path"]).glob("*.parquet"))))
    if isinstance(spec.features, Ratings):
        train, holdout = _latest_of_each_user(rows, spec.features, spec.split.holdout_fraction)
        ndcg = _neighbours_ndcg(train, holdout, spec.label, spec.features)
        figures.add(f"{spec.name}.ndcg_of_item_knn", ndcg, "nDCG, scipy, no Spark")
    elif spec.task == "classification":
        train, holdout = _by_files(rows, candidate["split"])
        said = _boosted(lightgbm.LGBMClassifier(**_CLASSES, **_ALWAYS), train, holdout, spec)
        figures.add(f"{spec.name}.roc_auc_of_lightgbm", roc_auc_score(holdout[spec.label], said), "ROC-AUC, no Spark")
        figures.add(f"{spec.name}.log_loss_of_lightgbm", log_loss(holdout[spec.label], said), "log loss, no Spark")
    elif isinstance(spec.features, RegularSeries):
        train, holdout = (_within(rows, candidate["split"], side) for side in ("train", "holdout"))
        said = _boosted(lightgbm.LGBMRegressor(**_SERIES, **_ALWAYS), train, holdout, spec)
        figures.add(f"{spec.name}.mae_of_lightgbm", mean_absolute_error(holdout[spec.label], said), "MAE, no Spark")
        _flattery(rows, spec, figures)


def _flattery(rows: pd.DataFrame, spec: PipelineSpec, figures: Figures) -> None:
    """The same model where the holdout is a fifth of the rows at random: each lies between two it was fitted on."""
    is_holdout = np.random.default_rng(42).random(len(rows)) < 0.2
    train, holdout = rows[~is_holdout], rows[is_holdout]
    said = _boosted(lightgbm.LGBMRegressor(**_SERIES, **_ALWAYS), train, holdout, spec)
    figures.add(
        f"{spec.name}.mae_of_lightgbm_by_a_random_split", mean_absolute_error(holdout[spec.label], said),
        "MAE, flattered",
    )  # fmt: skip
    calendar = [spec.features.categories[0], "slot", "weekday"]
    mean = train.groupby(calendar)[spec.label].mean().rename("said")
    joined = holdout.join(mean, on=calendar).dropna(subset=["said"])
    figures.add(
        f"{spec.name}.mae_of_profile_by_a_random_split", mean_absolute_error(joined[spec.label], joined["said"]),
        "MAE, flattered",
    )  # fmt: skip


def _boosted(
    model: lightgbm.LGBMModel, train: pd.DataFrame, holdout: pd.DataFrame, spec: PipelineSpec
) -> NDArray[np.float64]:
    categories = spec.features.categories
    levels = {name: sorted(train[name].unique()) for name in categories}
    inputs = [
        part[spec.features.columns].assign(**{name: pd.Categorical(part[name], levels[name]) for name in categories})
        for part in (train, holdout)
    ]
    model.fit(inputs[0], train[spec.label])
    if isinstance(model, lightgbm.LGBMClassifier):
        return np.asarray(model.predict_proba(inputs[1]))[:, 1]
    return np.asarray(model.predict(inputs[1]))


def _neighbours_ndcg(train: pd.DataFrame, holdout: pd.DataFrame, rating: str, asked: Ratings) -> float:
    """Mean nDCG of lists by item neighbours: cosine of who likes them, shrunk by 10 likes in common."""
    items = {item: n for n, item in enumerate(sorted(train[asked.item].unique()))}
    users = {user: n for n, user in enumerate(sorted(train[asked.user].unique()))}
    liked = train[train[rating] >= asked.liked_from]
    likes = csr_matrix(
        (np.ones(len(liked)), (liked[asked.user].map(users), liked[asked.item].map(items))), (len(users), len(items))
    )
    together = (likes.T @ likes).toarray()
    norms = np.sqrt(np.diag(together))
    alike = together / (np.outer(norms, norms) + 10)
    np.fill_diagonal(alike, 0)
    scores = likes @ alike
    scores[train[asked.user].map(users), train[asked.item].map(items)] = -np.inf
    relevant = holdout[holdout[rating] >= asked.liked_from].groupby(asked.user)[asked.item].agg(set)
    discounts = 1 / np.log2(np.arange(2, asked.top + 2))
    names, found = np.array(list(items)), []
    for user, wanted in relevant.items():
        best = names[np.argsort(-scores[users[user]], kind="stable")[: asked.top]]
        hits = np.isin(best, list(wanted))
        found.append((hits * discounts).sum() / discounts[: len(wanted)].sum())
    return float(np.mean(found))


def _by_files(rows: pd.DataFrame, split: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and holdout rows, as a split by files says."""
    left_out = pd.MultiIndex.from_tuples([tuple(each) for each in split["left_out"]] or [("", 0)])
    is_left_out = pd.MultiIndex.from_frame(rows[["source_sha256", "source_line"]]).isin(left_out)
    of_holdout = rows["source_sha256"].isin(split["holdout_files"]) & ~is_left_out
    return rows[rows["source_sha256"].isin(split["train_files"])], rows[of_holdout]


def _within(rows: pd.DataFrame, split: dict[str, Any], side: str) -> pd.DataFrame:
    """Rows of one side, as a split by time within groups says."""
    groups, instants = rows[split["grouped_by"]].astype(str), pd.to_datetime(rows[split["ordered_by"]], utc=True)
    inside = np.zeros(len(rows), dtype=bool)
    for each in split[f"{side}_stretches"]:
        first, last = pd.Timestamp(each["first_at"]), pd.Timestamp(each["last_at"])
        inside |= ((groups == each["group"]) & instants.between(first, last)).to_numpy()
    return rows[inside]


def _latest_of_each_user(rows: pd.DataFrame, asked: Ratings, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All but the latest ``share`` of each user's ratings, and those."""
    ordered = rows.sort_values([asked.user, asked.at, asked.item])
    place, n = ordered.groupby(asked.user).cumcount(), ordered.groupby(asked.user)[asked.user].transform("size")
    # Hundredths, because 0.8 * n is not what it says in floating point.
    kept = n * round(100 * (1 - share)) // 100
    return ordered[place < kept], ordered[place >= kept]
