"""Who answers how well on the same held-out rows: everybody's model, the owners' own, their vote, and plain guesses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_apps.ml.measuring import confusion, repeats
from spark_apps.ml.partitioned.models import Probabilities

GLOBAL, FEDERATED, VOTE, OWN, EACH = "global", "federated", "vote", "own_node", "each_node"
GUESS, MAJORITY = "guess_by_share", "majority"
_GUESSES = 200

Labels = NDArray[np.int64]


def judge(
    labels: Labels, owners: NDArray[np.str_], answers: dict[str, Probabilities], nodes: dict[str, Probabilities]
) -> dict[str, dict[str, float]]:
    """Contender -> measures. ``answers`` are those of models of everybody, ``nodes`` those of each owner's model.

    ``each_node`` is the mean over the owners' models, each on all held-out rows; ``own_node`` answers each row by the
    model of the row's owner; ``vote`` by the mean of all owners' probabilities.
    """
    n_classes = next(iter(nodes.values())).shape[1]

    def measured(said: Probabilities) -> dict[str, float]:
        return confusion.f1(confusion.counts(labels, said.argmax(axis=1), n_classes))

    own = np.select([(owners == owner)[:, None] for owner in nodes], list(nodes.values()))
    found = {name: measured(said) for name, said in {**answers, VOTE: vote(nodes), OWN: own}.items()}
    alone = {owner: measured(said) for owner, said in nodes.items()}
    means = {name: float(np.mean([each[name] for each in alone.values()])) for name in found[OWN]}
    return {**found, EACH: means, **alone}


def vote(nodes: dict[str, Probabilities]) -> Probabilities:
    """Mean of the owners' probabilities: nobody's model counts for more."""
    found: Probabilities = np.mean(list(nodes.values()), axis=0)
    return found


def guesses(labels: Labels, shares: NDArray[np.float64], seed: int) -> dict[str, dict[str, float]]:
    """Measures of who knows the classes' shares only: always the largest, or a guess by share (mean of 200)."""
    n_classes, draws = len(shares), np.random.default_rng(seed)
    one = np.full(len(labels), int(shares.argmax()))
    rounds = [
        confusion.f1(confusion.counts(labels, draws.choice(n_classes, len(labels), p=shares), n_classes))
        for _ in range(_GUESSES)
    ]
    return {
        MAJORITY: confusion.f1(confusion.counts(labels, one, n_classes)),
        GUESS: {name: float(np.mean([each[name] for each in rounds])) for name in rounds[0]},
    }


def summary(rows: list[dict[str, Any]], *, test_share: float) -> list[dict[str, Any]]:
    """Mean and half-width of the 95 % interval of each measure, over the repeats of one setting and contender.

    ``rows`` have ``owners``, ``columns``, ``contender``, ``repeat`` and measures as further numbers. ``above_global``
    is the paired difference in macro F1 to the model of everybody's rows in the same repeat.
    """
    by_setting: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_setting.setdefault((row["owners"], row["columns"], row["contender"]), []).append(row)
    found = []
    for (owners, columns, contender), mine in by_setting.items():
        theirs = {row["repeat"]: row["macro_f1"] for row in by_setting[owners, columns, GLOBAL]}
        above = [row["macro_f1"] - theirs[row["repeat"]] for row in mine]
        measures = {name: [row[name] for row in mine] for name in ("macro_f1", "weighted_f1", "accuracy")}
        found.append(
            {"owners": owners, "columns": columns, "contender": contender, "repeats": len(mine)}
            | {
                name: repeats.interval(values, test_share=test_share)
                for name, values in {**measures, "above_global": above}.items()
            }
        )
    return found
