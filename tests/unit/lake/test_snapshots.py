"""Training snapshots: addressed by what they hold, written once, read only while nothing changed."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from contracts.errors import ConfigurationError, QualityGateError, SchemaMismatchError
from spark_apps.io import ops, snapshots, verdicts
from spark_apps.io.pointers import Snapshot
from spark_apps.io.verdicts import Verdict

pytestmark = pytest.mark.spark

NAME = "features.access_log_volume"
SCHEMA = "minute_at timestamp, requests bigint, lag_1 double"
NOON = datetime(1995, 7, 9, 12, 0, 0, 250_001, tzinfo=UTC)


def rows(spark, n: int = 40):
    return spark.createDataFrame([(NOON.replace(minute=i), i, i / 3 if i else None) for i in range(n)], SCHEMA)


@pytest.fixture(scope="module")
def plain_hash(_spark_session) -> tuple[str, int]:
    return snapshots.content_hash(rows(_spark_session))


def written(frame, settings, **provenance) -> Snapshot:
    return snapshots.write(frame, NAME, settings, key=("minute_at",), provenance=provenance)


def test_what_was_written_is_read_back_with_its_provenance(spark, settings, tmp_path):
    snapshot = written(rows(spark), settings, table_version=7)
    assert (snapshot.name, snapshot.rows, snapshot.provenance) == (NAME, 40, {"table_version": 7})
    assertDataFrameEqual(snapshots.read(spark, snapshot, settings), rows(spark))
    snapshot.write_pointer(tmp_path / "snapshot.json")
    assert Snapshot.read_pointer(tmp_path / "snapshot.json") == snapshot
    manifest = json.loads((settings.snapshots / NAME / snapshot.hash / "manifest.json").read_text())
    assert manifest["provenance"] == {"table_version": 7}
    assert len(manifest["files"]) == 2


def test_the_hash_does_not_depend_on_how_rows_and_columns_are_laid_out(spark):
    plain = snapshots.content_hash(rows(spark).coalesce(1))
    shuffled = rows(spark).repartition(7, "lag_1").select("lag_1", "requests", "minute_at")
    assert snapshots.content_hash(shuffled) == plain
    assert snapshots.content_hash(rows(spark).orderBy(F.desc("requests"))) == plain


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.where("requests < 39"),
        lambda frame: frame.unionAll(frame.where("requests = 3")),
        lambda frame: frame.withColumn("requests", F.col("requests") + F.expr("int(requests = 3)")),
        lambda frame: frame.withColumn("minute_at", F.col("minute_at") + F.expr("INTERVAL 1 MICROSECOND")),
        lambda frame: frame.withColumn("lag_1", F.coalesce("lag_1", F.lit(0.0))),
        lambda frame: frame.withColumn("lag_1", F.col("lag_1") * (1 + 2**-52)),
        lambda frame: frame.withColumnRenamed("lag_1", "lag_2"),
        lambda frame: frame.withColumn("requests", F.col("requests").cast("int")),
    ],
    ids=["row less", "row twice", "value", "microsecond", "null as zero", "last bit", "name", "type"],
)
def test_every_change_of_content_or_schema_changes_the_hash(spark, plain_hash, change):
    assert snapshots.content_hash(change(rows(spark))) != plain_hash


def test_neighbouring_values_cannot_run_into_each_other(spark):
    schema = "a string, b string"
    pairs = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc", None),
        (None, "abc"),
        ("abc", ""),
        ("-", None),
        (None, None),
        ("1:a", "b"),
    ]
    hashes = {snapshots.content_hash(spark.createDataFrame([pair], schema)) for pair in pairs}
    assert len(hashes) == len(pairs)


def test_nested_and_unusual_types_count_too(spark):
    schema = (
        "a array<string>, m map<string,int>, s struct<x:double,y:string>, b binary, d date, n decimal(10,2), t boolean"
    )
    one = (["a,b"], {"k": 1}, (0.5, None), b"\xff\x00", date(1995, 7, 9), Decimal("1.50"), True)
    plain = snapshots.content_hash(spark.createDataFrame([one], schema))
    assert snapshots.content_hash(spark.createDataFrame([one], schema)) == plain
    for position, other in enumerate(
        [["a", "b"], {"k": None}, (0.5, ""), b"\xff", date(1995, 7, 8), Decimal("1.51"), None]
    ):
        changed = [*one[:position], other, *one[position + 1 :]]
        assert snapshots.content_hash(spark.createDataFrame([changed], schema)) != plain, position


def test_the_same_content_is_stored_once_and_keeps_its_first_provenance(spark, settings):
    first = written(rows(spark), settings, run="a")
    folder = settings.snapshots / NAME / first.hash
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    second = written(rows(spark).repartition(5), settings, run="b")
    assert (second.hash, second.path, second.provenance) == (first.hash, first.path, {"run": "b"})
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert json.loads((folder / "manifest.json").read_text())["provenance"] == {"run": "a"}
    assert [path.name for path in folder.parent.iterdir()] == [first.hash]


def test_a_failed_write_leaves_nothing_behind(spark, settings):
    failing = rows(spark).withColumn("lag_1", F.expr("double(raise_error('planted'))"))
    with pytest.raises(Exception, match="planted"):
        written(failing, settings)
    assert list(settings.snapshots.glob("*/*")) == []


def test_an_empty_snapshot_can_be_written_and_read(spark, settings):
    snapshot = written(rows(spark, 0), settings)
    assert snapshot.rows == 0
    assert snapshots.read(spark, snapshot, settings).count() == 0


def flip_last_byte(folder):
    path = next(folder.glob("*.parquet"))
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def drop_a_file(folder):
    next(folder.glob("*.parquet")).unlink()


def add_a_file(folder):
    (folder / "part-more.parquet").write_bytes(next(folder.glob("*.parquet")).read_bytes())


def empty_the_manifest(folder):
    (folder / "manifest.json").chmod(0o644)
    (folder / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_last_byte, "changed since"),
        (drop_a_file, "missing files"),
        (add_a_file, "unlisted files"),
        (empty_the_manifest, "a manifest that"),
    ],
)
def test_a_damaged_snapshot_is_refused(spark, settings, damage, says):
    snapshot = written(rows(spark), settings)
    damage(settings.snapshots / NAME / snapshot.hash)
    with pytest.raises(SchemaMismatchError, match=says):
        snapshots.read(spark, snapshot, settings)


def test_damage_of_a_stored_snapshot_is_found_when_the_same_content_is_written_again(spark, settings):
    flip_last_byte(settings.snapshots / NAME / written(rows(spark), settings).hash)
    with pytest.raises(SchemaMismatchError, match="changed since"):
        written(rows(spark), settings)


def test_a_snapshot_that_is_not_there_and_a_pointer_that_is_none_are_named(spark, settings, tmp_path):
    with pytest.raises(ConfigurationError, match="manifest"):
        snapshots.read(spark, Snapshot(name=NAME, hash="0" * 64, rows=1, path="", key=("minute_at",)), settings)
    (tmp_path / "pointer.json").write_text('{"name": "x"}')
    with pytest.raises(ConfigurationError, match=r"pointer\.json, hash: Field required"):
        Snapshot.read_pointer(tmp_path / "pointer.json")


def test_only_the_newest_verdict_on_exactly_this_content_counts(settings):
    engine = ops.connect(settings.ops_database)
    snapshot = Snapshot(name=NAME, hash="a" * 64, rows=1, path="", key=("minute_at",))

    def judge(content: str, *, passed: bool, dataset: str = NAME) -> None:
        verdicts.record(
            engine,
            Verdict(
                dataset=dataset, content_hash=content * 64, suite_hash="s" * 64, passed=passed, run_key="r",
                judged_at=NOON, report="page", rows=1,
            ),
        )  # fmt: skip

    def refused() -> bool:
        return verdicts.passing(engine, snapshot.name, snapshot.hash) is None

    with pytest.raises(QualityGateError, match="no passing verdict") as refusal:
        snapshots.require_verdict(engine, snapshot)
    assert refusal.value.exit_code == 4
    judge("b", passed=True)
    judge("a", passed=True, dataset="silver.access_log")
    assert refused()
    judge("a", passed=False)
    assert refused()
    judge("a", passed=True)
    assert snapshots.require_verdict(engine, snapshot).passed
    judge("a", passed=False)
    with pytest.raises(QualityGateError):
        snapshots.require_verdict(engine, snapshot)


def test_snapshots_with_an_erased_host_are_removed_and_others_stay(spark, settings):
    minutes = written(rows(spark), settings)
    hosts = {
        name: snapshots.write(
            spark.createDataFrame([(name, 9), ("other", 5)], "host string, requests bigint"),
            "features.access_log_visitors", settings, key=("host",), provenance={},
        )
        for name in ("erased", "h-0123456789abcdef", "kept")
    }  # fmt: skip
    names = ["erased", "h-0123456789abcdef"]
    assert snapshots.remove_with(spark, settings, "host", names) == 2
    assert snapshots.read(spark, minutes, settings).count() == 40
    assert snapshots.read(spark, hosts["kept"], settings).count() == 2
    assert not any((settings.snapshots / hosts[name].name / hosts[name].hash).exists() for name in names)
    assert snapshots.remove_with(spark, settings, "host", names) == 0
