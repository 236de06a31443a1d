"""Pipeline specs: what the shipped ones say, and that every wrong value is named before anything starts."""

from pathlib import Path

import pytest
import yaml

from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PIPELINES
from contracts.pipelines.algorithms import combinations

GOOD = yaml.safe_load((PIPELINES / "access_log_volume.yaml").read_text())


def written(folder: Path, **changes: object) -> Path:
    """The shipped spec with some fields replaced; ``a__b`` steps into a group."""
    said = yaml.safe_load(yaml.safe_dump(GOOD))
    for path, value in changes.items():
        *groups, field = path.split("__")
        place = said
        for group in groups:
            place = place[int(group) if group.isdigit() else group]
        place[field] = value
    (folder / f"{said['name']}.yaml").write_text(yaml.safe_dump(said))
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
        ({"algorithms__0__name": "deep_thought"}, ["algorithms.0.name", "'deep_thought'", "'generalized_linear'"]),
        ({"algorithms__0__reg_parm": 0.1}, ["algorithms.0.reg_parm", "0.1", "reg_param", "max_iter"]),
        ({"features__lags_min": [1, 0]}, ["features.lags_min", "[1, 0]", "1 or more"]),
        ({"features__lags_min": [1, 1]}, ["features.lags_min", "once"]),
        ({"features__max_silence_min": "long"}, ["features.max_silence_min", "'long'", "integer"]),
        ({"dataset": "silver.weather"}, ["dataset", "'silver.weather'", "silver.access_log"]),
        ({"baselines": {"persistence": "lag_99"}}, ["lag_99", "lag_1"]),
        ({"baselines": {"mean": "lag_1", "persistence": "lag_1"}}, ["mean", "has no column"]),
        ({"gate__baseline": "oracle"}, ["oracle", "mean, persistence"]),
        ({"gate__max_skill": 0.05}, ["field gate.max_skill", "found 0.05", "above gate.min_skill, 0.05"]),
        ({"gate__max_skill": 1.5}, ["field gate.max_skill", "found 1.5", "less than or equal to 1"]),
        ({"gate__max_excess_ece": 0.02}, ["field gate.max_excess_ece", "found 0.02", "for task classification"]),
        ({"gate__max_subgroup_growth": 0.1}, ["field gate.max_subgroup_growth", "found 0.1", "name the columns there"]),
        ({"gate__max_cost_ratio": 0.5}, ["field gate.max_cost_ratio", "found 0.5", "greater than or equal to 1"]),
        ({"gate__max_cost_ratio": float("inf")}, ["field gate.max_cost_ratio", "found inf", "equal to 1000"]),
        ({"schedule__cron": "30 4 * *"}, ["schedule.cron", "'30 4 * *'", "five fields"]),
        ({"schedule__cron": "30 24 * * *"}, ["schedule.cron", "hour", "0-23"]),
        ({"schedule__cron": "61 4 * * *"}, ["schedule.cron", "minute", "0-59"]),
        ({"schedule__timezone": "Mars/Olympus"}, ["schedule.timezone", "'Mars/Olympus'", "IANA"]),
        ({"algorithms__0__link": "identity"}, ["algorithms.0", "family poisson needs link log"]),
        ({"algorithms__0__max_iter": 0}, ["algorithms.0.max_iter", "found 0", "greater than or equal to 1"]),
        ({"algorithms__0__reg_param": [0.0, 0.1]}, ["search: how to choose"]),
        ({"algorithms": [{"name": "gbt"}, {"name": "gbt"}]}, ["each algorithm may stand there once"]),
        ({"algorithms": [{"name": "logistic_regression"}]}, ["logistic_regression cannot do regression", "gbt"]),
        ({"gate__metric": "auc"}, ["gate.metric", "'auc'", "'mae'", "'roc_auc'"]),
        ({"algorithms__0__max_iter": True}, ["algorithms.0.max_iter", "True", "integer"]),
        ({"algorithms__0__reg_param": float("inf")}, ["algorithms.0.reg_param", "inf", "finite"]),
        ({"seed": 2**31}, ["seed", "less than 2147483648"]),
        ({"label": "hits"}, ["field label", "found 'hits'", "required requests"]),
        ({"key": ["host"]}, ["field key", "minute_at"]),
        ({"dataset": "bronze.higgs"}, ["field dataset", "silver.access_log"]),
        ({"forecast": "gold.sessions"}, ["field forecast", "'gold.sessions'", "columns minute_at and forecast"]),
        ({"task": "classification"}, ["field task", "'classification'", "are for task regression"]),
        ({"baselines__gbt": "lag_1"}, ["field baselines", "other names than gbt"]),
        ({"schedule__cron": "*/0 4 * * *"}, ["schedule.cron", "minute", "/steps"]),
        ({"schedule__cron": "0 4 * * 5-1"}, ["schedule.cron", "day of week", "rising"]),
        ({"gate__metric": "roc_auc"}, ["regression is not measured by roc_auc", "mae"]),
        ({"ordered_by": None}, ["forecast", "the columns ordered_by and forecast"]),
        ({"split__kind": "coin"}, ["split.kind", "'coin'", "'time'"]),
        (
            {"split": {"kind": "files", "train": "a", "holdout": "b", "min_train_rows": 2, "min_holdout_rows": 2}},
            ["split.kind", "features of kind minute_series are split by time"],
        ),
    ],
)
def test_a_wrong_value_is_refused_with_file_field_value_and_what_is_allowed(tmp_path, changes, names):
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load("access_log_volume", written(tmp_path, **changes))
    for part in ["access_log_volume.yaml", *names]:
        assert part in str(refusal.value)


def test_a_pipeline_is_named_like_its_file(tmp_path):
    written(tmp_path)
    (tmp_path / "other.yaml").write_text((tmp_path / "access_log_volume.yaml").read_text())
    with pytest.raises(ConfigurationError, match=r"field name: found 'access_log_volume'; required other"):
        pipelines.load("other", tmp_path)


SEARCH = {"method": "grid", "metric": "mae"}


@pytest.mark.parametrize(
    ("algorithm", "search", "names"),
    [
        ({"name": "gbt", "max_depth": {"low": 2, "high": 6}}, SEARCH, ["a grid cannot try a range"]),
        ({"name": "gbt", "max_depth": [2, 6]}, SEARCH | {"trials": 3}, ["search.trials must go"]),
        ({"name": "gbt", "max_depth": [2, 6]}, SEARCH | {"method": "random"}, ["search.trials is required", "random"]),
        ({"name": "gbt", "max_depth": [2, 6]}, SEARCH | {"metric": "brier"}, ["regression is not measured by brier"]),
        ({"name": "gbt", "max_depth": [2]}, SEARCH, ["algorithms.0.max_depth", "at least 2 items"]),
        ({"name": "gbt", "max_depth": [10, 40]}, SEARCH, ["algorithms.0.max_depth.1", "found 40", "equal to 30"]),
        ({"name": "gbt", "max_depth": {"low": 6, "high": 2}}, SEARCH, ["algorithms.0.max_depth", "low must be below"]),
        ({"name": "gbt", "max_depth": {"low": 2, "high": 60}}, SEARCH, ["algorithms.0.max_depth.high", "equal to 30"]),
        ({"name": "gbt", "max_depth": {"low": 2.5, "high": 6}}, SEARCH, ["algorithms.0.max_depth.low", "integer"]),
        (
            {"name": "gbt", "max_depth": {"low": 2, "high": 6, "step": 1}},
            SEARCH,
            ["algorithms.0.max_depth.step", "a known field: low, high, log"],
        ),
        (
            {"name": "gbt", "max_depth": [2, 6]},
            SEARCH | {"parallelism": 2, "stop_hopeless": True},
            ["search", "without stop_hopeless"],
        ),
        (
            {"name": "gbt", "max_depth": [2, 6]},
            SEARCH | {"rolling_origin": {"window": "sliding"}},
            ["field search.rolling_origin.window", "found 'sliding'", "'expanding' or 'rolling'"],
        ),
        (
            {"name": "gbt", "max_depth": [2, 6]},
            SEARCH | {"rolling_origin": {"gap": 5}},
            ["field search.rolling_origin.gap:", "found 5", "a known field: window, gap_min, embargo_min"],
        ),
        (
            {"name": "gbt", "max_depth": [2, 6]},
            SEARCH | {"rolling_origin": {"embargo_min": -1}},
            ["field search.rolling_origin.embargo_min", "found -1", "greater than or equal to 0"],
        ),
        (
            {"name": "gbt", "max_depth": [2, 6]},
            SEARCH | {"stratify": True},
            ["field search.stratify", "found True", "required false: it is for task classification"],
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(tmp_path, algorithm, search, names):
    folder = written(tmp_path, algorithms=[algorithm], search=search)
    with pytest.raises(ConfigurationError) as refusal:
        pipelines.load("access_log_volume", folder)
    for part in names:
        assert part in str(refusal.value)


def test_every_combination_of_lists_is_tried(tmp_path):
    listed = {"name": "gbt", "max_depth": [2, 6], "max_iter": [10, 20]}
    [gbt] = pipelines.load("access_log_volume", written(tmp_path, algorithms=[listed], search=SEARCH)).algorithms
    tried = [(one["max_iter"], one["max_depth"]) for one in combinations(gbt)]
    assert tried == [(10, 2), (10, 6), (20, 2), (20, 6)]
    assert {one["step_size"] for one in combinations(gbt)} == {0.1}


WATCHED = {"cron": "0 4 * * *", "block_hours": 1}


@pytest.mark.parametrize(
    ("pipeline", "policy", "names"),
    [
        ("access_log_volume", {"columns": ["lag_99"]}, ["drift.columns", "lag_1", "lag_99 are not"]),
        ("access_log_volume", {"columns": ["hour_sin"]}, ["drift.columns", "hour_sin are not"]),
        ("access_log_volume", {"by": "requests"}, ["drift.by", "not the label", "minute_at"]),
        ("access_log_volume", {"block_hours": None}, ["drift.block_hours", "independent of it"]),
        ("higgs", {}, ["drift.block_hours", "rows of this pipeline have no order"]),
        ("higgs", {"block_hours": None, "rhythm": True}, ["drift.rhythm", "only a series of numbers"]),
        ("movielens", {"block_hours": None, "columns": ["user_id"]}, ["drift.columns", "some of rating"]),
        ("access_log_volume", {"confirm": {"windows": 3, "of": 2}}, ["drift.confirm", "windows 3 of 2 can never be"]),
        ("access_log_volume", {"cron": "0 25 * * *"}, ["drift.cron", "hour"]),
        ("access_log_volume", {"min_rows": 10}, ["drift.min_rows", "greater than or equal to 50"]),
        ("access_log_volume", {"action": "panic"}, ["drift.action", "'panic'", "'retrain'"]),
    ],
)
def test_a_drift_policy_that_cannot_be_followed_is_refused(tmp_path, pipeline, policy, names):
    said = refusal(tmp_path, pipeline, {"drift": {k: v for k, v in (WATCHED | policy).items() if v is not None}})
    for part in names:
        assert part in said


def test_of_a_series_everything_but_its_calendar_is_watched():
    watched = pipelines.load("uk_traffic").watched_columns
    assert {"lag_1", "flow", "prediction"} <= set(watched)
    assert not {"slot", "weekday"} & set(watched)
    assert pipelines.load("movielens").watched_columns == ["rating"]


def refusal(folder: Path, name: str, changes: dict[str, object]) -> str:
    """What is said of a shipped pipeline with these fields changed; ``a__b`` is field b within a."""
    said = yaml.safe_load((PIPELINES / f"{name}.yaml").read_text())
    for path, value in changes.items():
        *groups, field = path.split("__")
        (said[groups[0]] if groups else said)[field] = value
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError) as refused:
        pipelines.load(name, folder)
    return str(refused.value)


DRAWN = {"kind": "random", "holdout_fraction": 0.2, "stratify": True, "min_train_rows": 2, "min_holdout_rows": 2}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"features": {"kind": "table", "numeric": ["m_bb", "mbb"]}}, ["bronze.higgs has no column mbb", "m_wbb"]),
        ({"features": {"kind": "table", "numeric": ["label"]}}, ["the label label cannot be a feature"]),
        ({"features": {"kind": "table"}}, ["features", "at least one column"]),
        ({"features": {"kind": "tabel"}}, ["features.kind", "'tabel'", "'table'"]),
        ({"label": "signal"}, ["bronze.higgs has no column signal"]),
        ({"label": "source_file"}, ["features", "source_file must be numbers"]),
        ({"ordered_by": "source_line"}, ["field ordered_by", "have no order"]),
        ({"ordered_by": "no_such_column"}, ["field ordered_by", "nothing: rows of a table have no order"]),
        ({"split__kind": "time"}, ["split"]),
        ({"split__twin_columns": ["mbb"]}, ["split.twin_columns", "mbb are not"]),
        ({"split__twin_distance": 0.0}, ["split", "belong together"]),
        ({"split__holdout": ""}, ["split.holdout", "at least 1 character"]),
        ({"search__rolling_origin": {"gap_min": 5}}, ["search.rolling_origin", "{'gap_min': 5}", "rows have no order"]),
        (
            {"split": DRAWN | {"together": ["label"]}},
            ["field split.stratify", "found True", "required false", "no together"],
        ),
        ({"key": ["source_line"]}, ["split.kind", "source_sha256 and source_line in key"]),
        ({"gate__baseline": "mean"}, ["'mean' must be one of prior"]),
        ({"search": None}, ["search: how to choose"]),
        ({"algorithms": [{"name": "linear_svc"}]}, ["it needs probabilities", "no linear_svc"]),
        (
            {
                "dataset": "silver.access_log",
                "label": "status",
                "key": ["kafka_offset"],
                "features": {"kind": "table", "numeric": ["bytes_sent"]},
            },
            ["field dataset", "the column source_file"],
        ),
        ({"split": DRAWN | {"stratify": False, "together": ["label"]}}, ["split.together", "are not the label"]),
        ({"features__products": [["m_jj", "m_lv"], ["m_lv", "m_jj"]]}, ["each product may appear once"]),
        ({"baselines": {"By_mass": "m_jj"}}, ["field baselines", "small letters", "By_mass are not"]),
        ({"schedule__deadline_min": 10**15}, ["schedule.deadline_min", "527040"]),
        ({"schedule__cool_down_hours": float("inf")}, ["schedule.cool_down_hours", "8784"]),
    ],
)
def test_a_table_that_does_not_fit_its_pipeline_is_refused(tmp_path, changes, names):
    said = refusal(tmp_path, "higgs", changes)
    for part in ["higgs.yaml", *names]:
        assert part in said


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"key": ["source_sha256", "source_line"]}, ["field key", "[site, starts_at]"]),
        ({"ordered_by": None}, ["field key", "ordered_by starts_at"]),
        ({"features__at": "began_at"}, ["features", "has no column began_at"]),
        ({"features__step_min": 7}, ["features.step_min", "divide the day"]),
        ({"baselines__persistence": "lag_96"}, ["field baselines", "persistence: lag_1"]),
        ({"baselines__profile": "lag_96"}, ["field baselines", "other names than profile"]),
        ({"split__kind": "time"}, ["split.kind", "are split by group_time"]),
        ({"split": DRAWN}, ["field split.stratify", "found True", "so task classification"]),
        ({"split": DRAWN | {"stratify": False}}, ["field split.together", "[site]", "a row's neighbours"]),
        (
            {"features__at": "day_type", "key": ["site", "day_type"], "ordered_by": "day_type"},
            ["field features.at", "a timestamp, which day_type is not"],
        ),
        ({"calibration": {"method": "platt"}}, ["field calibration", "it needs probabilities"]),
    ],
)
def test_a_series_that_does_not_fit_its_pipeline_is_refused(tmp_path, changes, names):
    said = refusal(tmp_path, "uk_traffic", changes)
    for part in ["uk_traffic.yaml", *names]:
        assert part in said


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"features__bounds": [5, 0.5]}, ["features", "must rise"]),
        ({"features__liked_from": 9}, ["features", "liked_from 9.0 lie between them"]),
        ({"features__liked_from": float("nan")}, ["features", "lie between"]),
        ({"features__item": "user_id"}, ["features", "three columns"]),
        ({"label": "rated_at_s"}, ["field label", "not the instant of it"]),
        ({"ordered_by": "rated_at_s"}, ["field ordered_by", "features.at says when"]),
    ],
)
def test_ratings_that_make_no_sense_are_refused(tmp_path, changes, names):
    said = refusal(tmp_path, "movielens", changes)
    for part in ["movielens.yaml", *names]:
        assert part in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("about: 2024-02-30\n", "day is out of range"),
        ("seed: 1\nseed: 2\n", "seed twice"),
        ("gate: {metric: mae, metric: rmse}\n", "metric twice"),
        ("[" * 5000, ""),
    ],
)
def test_a_file_that_is_hardly_yaml_costs_nobody_else_anything(tmp_path, text, found):
    (tmp_path / "higgs.yaml").write_text((PIPELINES / "higgs.yaml").read_text())
    (tmp_path / "odd.yaml").write_text(text)
    readable, [wrong] = pipelines.load_readable(tmp_path)
    assert list(readable) == ["higgs"]
    assert "odd.yaml, field (file)" in str(wrong)
    assert found in str(wrong)


def test_everything_that_is_wrong_in_several_files_is_said_at_once(tmp_path):
    for name in ("higgs", "movielens"):
        said = yaml.safe_load((PIPELINES / f"{name}.yaml").read_text())
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(said | {"task": "guessing"}))
    with pytest.raises(ConfigurationError, match=r"higgs\.yaml, field task.*movielens\.yaml, field task.*all of"):
        pipelines.load_all(tmp_path)


def test_folds_within_each_user_have_no_cut_to_leave_minutes_out_at(tmp_path):
    said = yaml.safe_load((PIPELINES / "movielens.yaml").read_text())
    said["search"]["rolling_origin"] = {"embargo_min": 60}
    (tmp_path / "movielens.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigurationError, match=r"field search\.rolling_origin: .* cut within each user"):
        pipelines.load("movielens", tmp_path)


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
    with pytest.raises(ConfigurationError, match=r"required one of .*access_log_volume"):
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
