"""Pipeline specs: what the shipped ones say, and that every wrong value is named before anything starts."""

from pathlib import Path

import pytest
import yaml

from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES

GOOD = yaml.safe_load((PIPELINES / "access_log_volume.yaml").read_text())


def written(folder: Path, **changes: object) -> Path:
    """The shipped spec with some fields replaced; ``a__b`` steps into a group."""
    said = yaml.safe_load(yaml.safe_dump(GOOD))
    for path, value in changes.items():
        *groups, field = path.split("__")
        place = said
        for group in groups:
            place = place[group]
        place[field] = value
    (folder / "access_log_volume.yaml").write_text(yaml.safe_dump(said))
    return folder


def test_every_shipped_pipeline_can_be_read_and_is_named_like_its_file():
    assert [spec.name for spec in pipelines.load_all().values()] == pipelines.names()


def test_the_volume_pipeline_names_its_columns_in_snapshot_order():
    assert pipelines.load("access_log_volume").features.columns == [
        "lag_1", "lag_2", "lag_3", "lag_5", "lag_10", "lag_15",
        "mean_5", "mean_15", "mean_60", "hour_sin", "hour_cos", "weekday",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"split__holdout_fraction": 1.5}, ["split.holdout_fraction", "1.5", "less than 1"]),
        ({"compute_profile": "enormous"}, ["compute_profile", "'enormous'", "'small'"]),
        ({"algorithm__name": "deep_thought"}, ["algorithm.name", "'deep_thought'", "'poisson_glm'"]),
        ({"algorithm__reg_parm": 0.1}, ["algorithm.reg_parm", "0.1", "reg_param", "max_iter"]),
        ({"features__lags_min": [1, 0]}, ["features.lags_min", "[1, 0]", "1 or more"]),
        ({"features__lags_min": [1, 1]}, ["features.lags_min", "once"]),
        ({"features__max_silence_min": "long"}, ["features.max_silence_min", "'long'", "integer"]),
        ({"dataset": "silver.weather"}, ["dataset", "'silver.weather'", "silver.access_log"]),
        ({"baselines": {"persistence": "lag_99"}}, ["lag_99", "lag_1"]),
        ({"baselines": {"mean": "lag_1", "persistence": "lag_1"}}, ["mean", "has no column"]),
        ({"gate__baseline": "oracle"}, ["oracle", "mean, persistence"]),
        ({"schedule__cron": "30 4 * *"}, ["schedule.cron", "'30 4 * *'", "five fields"]),
        ({"schedule__cron": "30 24 * * *"}, ["schedule.cron", "hour", "0-23"]),
        ({"schedule__cron": "61 4 * * *"}, ["schedule.cron", "minute", "0-59"]),
        ({"schedule__timezone": "Mars/Olympus"}, ["schedule.timezone", "'Mars/Olympus'", "IANA"]),
        ({"name": "other"}, ["name", "'other'", "access_log_volume"]),
    ],
)
def test_a_wrong_value_is_refused_with_file_field_value_and_what_is_allowed(tmp_path, changes, names):
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load("access_log_volume", written(tmp_path, **changes))
    for part in ["access_log_volume.yaml", *names]:
        assert part in str(refusal.value)


def test_a_missing_field_is_named(tmp_path):
    said = {key: value for key, value in GOOD.items() if key != "seed"}
    (tmp_path / "access_log_volume.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError, match=r"field seed: found nothing"):
        pipelines.load("access_log_volume", tmp_path)


@pytest.mark.parametrize("text", ["- a list", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "access_log_volume.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"access_log_volume\.yaml"):
        pipelines.load("access_log_volume", tmp_path)


@pytest.mark.parametrize("name", ["access_log_volumes", "../pyproject", ""])
def test_an_unknown_pipeline_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError, match="one of access_log_volume"):
        pipelines.load(name)


@pytest.mark.parametrize("cron", ["30 4 * * *", "*/15 0-6,22 1,15 * 1-5", "0 4 * * 7"])
def test_usual_cron_lines_are_accepted(tmp_path, cron):
    assert pipelines.load("access_log_volume", written(tmp_path, schedule__cron=cron)).schedule.cron == cron


def test_the_hash_follows_what_the_file_says_and_neither_order_nor_comments(tmp_path):
    shipped = pipelines.load("access_log_volume")
    text = yaml.safe_dump(dict(reversed(GOOD.items())), sort_keys=False)
    (tmp_path / "access_log_volume.yaml").write_text("# a comment\n" + text)
    assert pipelines.load("access_log_volume", tmp_path).hash == shipped.hash
    assert pipelines.load("access_log_volume", written(tmp_path, seed=21)).hash != shipped.hash


def test_a_spec_cannot_be_changed_after_it_was_read():
    with pytest.raises(ValueError, match="frozen"):
        pipelines.load("access_log_volume").seed = 1
