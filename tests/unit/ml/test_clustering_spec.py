"""Pipelines that group rows: what a file may say, and when groups may become champion. Starts no JVM."""

import pytest
import yaml

from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES
from spark_apps.ml import choosing
from spark_apps.ml.choosing import Rated
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring.paired import Difference
from tests.unit.ml.test_access_log_visitors import SHARES, counted

NAME = "access_log_visitors"
SPEC = pipelines.load(NAME)
SPLIT = {"holdout_fraction": 0.2, "min_train_rows": 2, "min_holdout_rows": 2}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"label": "requests"}, ["field label", "'requests'", "required nothing"]),
        ({"key": ["path"]}, ["field key", "host"]),
        ({"ordered_by": "requested_at"}, ["field ordered_by", "'requested_at'", "nothing"]),
        ({"dataset": "bronze.movies"}, ["field dataset", "silver.access_log"]),
        ({"task": "regression"}, ["field task", "'regression'", "clustering"]),
        ({"baselines": {}}, ["field baselines", "one at least", "by whose size alone"]),
        ({"baselines": {"by_night": "night_share"}}, ["field baselines", "night_share", "image_share"]),
        ({"baselines": {"kmeans": "requests"}}, ["field baselines", "other names than kmeans"]),
        ({"algorithms": [{"name": "gbt"}]}, ["field algorithms", "gbt cannot do clustering", "kmeans"]),
        ({"algorithms": [{"name": "kmeans", "k": 1}]}, ["algorithms.0.k", "found 1", "equal to 2"]),
        ({"algorithms": [{"name": "kmeans"}]}, ["algorithms.0.k", "found nothing"]),
        ({"split": {"kind": "time", **SPLIT}}, ["split.kind", "'time'", "random"]),
        ({"split": {"kind": "random", "together": ["path"], **SPLIT}}, ["split.together", "host", "requests"]),
        ({"features": {"kind": "visitors", "min_requests": 5, "shares": []}}, ["features.shares", "at least 1"]),
        ({"features": {"kind": "visitors", "min_requests": 5, "shares": ["page"] * 2}}, ["features.shares", "once"]),
        ({"features": {"kind": "visitors", "min_requests": 5, "shares": ["moon"]}}, ["features.shares", "'moon'"]),
        ({"gate": {"metric": "mae"}}, ["gate.metric", "clustering is not measured by mae", "silhouette"]),
        ({"gate": {"min_cluster_share": 0.0}}, ["gate.min_cluster_share", "above 0"]),
        ({"gate": {"min_cluster_share": 0.2}}, ["gate.min_cluster_share", "0.167 or less", "6 clusters"]),
        ({"gate": {"min_cluster_share": 0.7}}, ["gate.min_cluster_share", "0.7", "equal to 0.5"]),
        ({"calibration": {"method": "platt"}}, ["field calibration", "task classification"]),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_what_is_allowed(tmp_path, changes, names):
    said = yaml.safe_load((PIPELINES / f"{NAME}.yaml").read_text())
    for field, value in changes.items():
        said[field] = said["gate"] | value if field == "gate" else value
    (tmp_path / f"{NAME}.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load(NAME, tmp_path)
    for part in names:
        assert part in str(refusal.value)


def test_a_share_of_clusters_is_for_clusters_only(tmp_path):
    said = yaml.safe_load((PIPELINES / "higgs.yaml").read_text())
    said["gate"]["min_cluster_share"] = 0.1
    (tmp_path / "higgs.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError, match=r"gate\.min_cluster_share.*found 0\.1.*task clustering"):
        pipelines.load("higgs", tmp_path)


def rated(*, smallest: float, high: float = -0.1) -> Rated:
    found = Clusters(rows=100, silhouette=0.9, clusters=2, smallest_share=smallest, largest_share=1 - smallest)
    test = Difference(mean=high - 0.196, standard_error=0.1, blocks=100)
    return Rated(version=1, errors=found, columns=["requests"], against_baseline=test)


def chosen(candidate: Rated) -> choosing.Choice:
    halves = Clusters(rows=100, silhouette=0.2, clusters=2, smallest_share=0.5, largest_share=0.5)
    return choosing.choose(candidate, None, dict.fromkeys(SPEC.baselines, halves), SPEC.gate)


def test_groups_that_are_large_and_far_apart_become_champion():
    assert chosen(rated(smallest=0.02)).promote


def test_nearly_everything_in_one_group_is_no_champion_whatever_its_silhouette():
    choice = chosen(rated(smallest=0.01))
    assert not choice.promote
    assert "silhouette 0.900 against by_requests 0.200" in choice.reason
    assert "its smallest cluster holds 1.0%, less than the required 2.0%" in choice.reason


def test_groups_that_may_be_better_by_luck_are_no_champion():
    assert "may be luck" in chosen(rated(smallest=0.3, high=0.1)).reason


def test_the_shares_that_are_left_out_tell_few_hosts_apart_in_the_shipped_log(samples):
    hosts = counted(samples / "nasa_http" / "access_09jul1995_am.log", SPEC.features.min_requests)
    share = {name: [values[place - len(SHARES)] for values in hosts.values()] for place, name in enumerate(SHARES)}
    assert len(hosts) == 691
    assert sum(value > 0 for value in share["error"]) / 691 == pytest.approx(0.061, abs=0.001)
    assert sum(value > 0 for value in share["head"]) == 5
    assert sum(value in (0, 1) for value in share["night"]) / 691 == pytest.approx(0.944, abs=0.001)
