"""Landed files into Delta: made files with everything wrong that can be, and the real ones counted by other means."""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConfigurationError, ExpectationsFailedError, SchemaMismatchError
from contracts.landed import Constant, Landed, LandedField, Layout
from contracts.landed_files import landed
from spark_apps import ingest, validate
from spark_apps.io import landing, tables, validation
from streaming.ingest import create_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Row, SparkSession

    from contracts.settings import Settings

pytestmark = pytest.mark.spark

PARCELS = Landed(
    subject="parcels",
    about="Made for these tests.",
    members=r"\.csv$",
    constants=(Constant(column="depot", about="-", in_name=r"depot_(\w+)\."),),
    fields=(
        LandedField(column="id", type="bigint", about="-", names=("Id",)),
        LandedField(column="to", type="string", about="-", names=("To",)),
        LandedField(column="pieces", type="int", about="-", names=("Pieces",)),
        LandedField(column="kg", type="double", about="-", names=("Weight",), required=False),
        LandedField(
            column="sent_at", type="timestamp", about="-", names=("Day",), joined_with=("Clock",),
            formats=("d/M/yyyy H:mm:ss",), required=False,
        ),
    ),
    layouts=(Layout(name="list", header=True), Layout(name="bare", header=False, delimiter="\t",
                                                      order=("id", "to", "pieces", "kg", "sent_at"))),
)  # fmt: skip
HEADER = "Id,To,Pieces,Weight,Day,Clock"
GOOD = '1,"Smith, ""Jo""",2,1.5,31/01/2014,9:15:00'


def land(folder: Path, *lines: str, name: str = "depot_a.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


class Shop:
    """Ingests files of PARCELS into a lake of its own."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark, self.settings = spark, settings
        for dataset in (PARCELS.bronze, PARCELS.quarantine):
            tables.create_if_missing(spark, dataset, settings)

    def ingest(self, path: Path, contract: Landed = PARCELS) -> dict[str, int]:
        with landing.opened(path, contract, self.settings) as (file,):
            return ingest.ingest(self.spark, self.settings, contract, file)

    def bronze(self) -> list[Row]:
        return tables.read(self.spark, PARCELS.bronze, self.settings.lake).orderBy("source_line").collect()

    def refused(self) -> dict[int, str]:
        rows = tables.read(self.spark, PARCELS.quarantine, self.settings.lake).collect()
        return {row.source_line: row.reason for row in rows}


@pytest.fixture
def shop(spark: SparkSession, settings: Settings) -> Shop:
    """For a few lines; the real files below are read by generated code."""
    return Shop(spark, settings)


def test_lines_become_typed_rows_and_the_rest_is_quarantined_with_its_reason(shop: Shop, tmp_path: Path) -> None:
    path = land(
        tmp_path, "\ufeff" + HEADER, GOOD, " 2 , b ,3.0, , , ,", "", "3,c,1e0,-4e-1,1/2/2014,23:00:00",
        "4,d", "5,e,1,1,1/1/2014,0:00:00,7,8", ",f,1,,,", "7,g,two,,,", "8,h,1.5,,,", "9,i,1,heavy,,",
        "10,j,1,NaN,,", "11,k,1,,31/02/2014,1:00:00", "12,l,1,,1/1/2014,", "9007199254740993,m,1,,,", end="\r\n",
    )  # fmt: skip
    counts = shop.ingest(path)
    assert shop.refused() == {
        6: "wrong_number_of_fields", 7: "wrong_number_of_fields", 8: "missing:id", 9: "bad:pieces", 10: "bad:pieces",
        11: "bad:kg", 12: "bad:kg", 13: "bad:sent_at", 14: "bad:sent_at",
    }  # fmt: skip
    rows = [(r.source_line, r.id, r.to, r.pieces, r.kg, str(r.sent_at), r.depot) for r in shop.bronze()]
    assert rows == [
        (2, 1, 'Smith, "Jo"', 2, 1.5, "2014-01-31 09:15:00", "a"),
        (3, 2, "b", 3, None, "None", "a"),
        (5, 3, "c", 1, -0.4, "2014-02-01 23:00:00", "a"),
        (15, 9007199254740993, "m", 1, None, "None", "a"),
    ]
    reasons = {"wrong_number_of_fields": 2, "missing:id": 1, "bad:pieces": 2, "bad:kg": 2, "bad:sent_at": 2}
    assert counts == {"is_new": 1, "bronze": 4, **reasons}


def test_the_same_content_changes_nothing_whatever_its_name(shop: Shop, tmp_path: Path) -> None:
    shop.ingest(land(tmp_path, HEADER, GOOD, "2,b"))
    assert shop.ingest(land(tmp_path, HEADER, GOOD, "2,b", name="depot_b.csv")) == {"is_new": 0}
    assert (len(shop.bronze()), len(shop.refused())) == (1, 1)
    assert shop.ingest(land(tmp_path, HEADER, GOOD, "2,b", "", name="depot_b.csv"))["is_new"] == 1


def test_a_newer_contract_replaces_the_rows_of_a_file_and_of_no_other(shop: Shop, tmp_path: Path) -> None:
    path = land(tmp_path, HEADER, GOOD, ",no id,1,,,")
    shop.ingest(path)
    shop.ingest(land(tmp_path, HEADER, "", ",neither,1,,,", name="depot_b.csv"))
    stricter = tuple(f.model_copy(update={"required": True}) if f.column == "kg" else f for f in PARCELS.fields)
    newer = PARCELS.model_copy(update={"fields": stricter, "version": 2})
    assert shop.ingest(path, newer) == {"is_new": 1, "bronze": 1, "missing:id": 1}
    assert (len(shop.bronze()), len(tables.read(shop.spark, PARCELS.quarantine, shop.settings.lake).collect())) == (
        1,
        2,
    )
    assert shop.ingest(path) == {"is_new": 0}


def test_an_ingest_that_died_between_its_commits_is_finished_exactly(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = land(tmp_path, HEADER, GOOD, "2,b")
    real = tables.replace

    def dies(rows, dataset, *rest, **more) -> None:
        if dataset.layer == "bronze":
            raise KeyboardInterrupt
        real(rows, dataset, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            shop.ingest(path)
    assert (len(shop.bronze()), len(shop.refused())) == (0, 1)
    assert shop.ingest(path)["is_new"] == 1
    assert (len(shop.bronze()), len(shop.refused())) == (1, 1)


def test_line_numbers_are_those_of_the_file_however_it_is_cut_into_blocks(
    shop: Shop, tmp_path: Path, spark: SparkSession
) -> None:
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    path = land(tmp_path, HEADER, *[f"{n},x,1,,," for n in range(2, 302)])
    spark.conf.set("spark.sql.files.maxPartitionBytes", 300)
    try:
        with landing.opened(path, PARCELS, shop.settings) as (file,):
            lines = landing.numbered_lines(spark, file)
            assert lines.rdd.getNumPartitions() > 5
            found = {row.source_line: row.line for row in lines.collect()}
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", before or "128m")
    assert found == dict(enumerate(path.read_text().splitlines(), start=1))


def test_gzip_and_zip_are_read_and_what_macos_adds_is_not(shop: Shop, tmp_path: Path) -> None:
    packed = tmp_path / "depot_g.csv.gz"
    packed.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}\n".encode()))
    archive = tmp_path / "parcels.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("in/depot_z.csv", f"{HEADER}\n7,z,1,,,\n")
        made.writestr("__MACOSX/in/._depot_z.csv", "junk")
        made.writestr("readme.txt", "hello")
    assert shop.ingest(packed)["bronze"] == 1
    assert shop.ingest(archive)["bronze"] == 1
    assert [(r.source_file, r.depot) for r in shop.bronze()] == [
        ("depot_g.csv.gz", "g"), ("parcels.zip!in/depot_z.csv", "z"),
    ]  # fmt: skip
    assert list((shop.settings.state / "tmp").iterdir()) == []


def test_a_file_without_a_header_is_known_by_its_fields(shop: Shop, tmp_path: Path) -> None:
    assert shop.ingest(land(tmp_path, "1\ta\t2\t0.5\t1/1/2014 0:15:00", "2\tb\t1"))["bronze"] == 1
    assert shop.refused() == {2: "wrong_number_of_fields"}


@pytest.mark.parametrize(
    "name", ["_depot_a.csv", ".depot_a.csv", "depot_a.[1].csv", "depot_a.1:00.csv", "depot_a. x.csv"]
)
def test_names_that_mean_something_to_spark_are_names(shop: Shop, tmp_path: Path, name: str) -> None:
    land(tmp_path, HEADER, "9,another,1,,,", name="depot_a.1.csv")
    assert shop.ingest(land(tmp_path, HEADER, GOOD, name=name))["bronze"] == 1
    assert [(row.id, row.source_file) for row in shop.bronze()] == [(1, name)]


def test_a_blank_before_a_quote_does_not_move_the_columns(shop: Shop, tmp_path: Path) -> None:
    shop.ingest(land(tmp_path, HEADER, '1, "Title, The" ,2, "1.5",,'))
    assert [(row.to, row.pieces, row.kg) for row in shop.bronze()] == [("Title, The", 2, 1.5)]


def test_one_wrong_file_among_several_keeps_all_of_them_out(
    spark: SparkSession, settings: Settings, samples: Path, tmp_path: Path
) -> None:
    right, wrong = samples / "higgs" / "HIGGS_uci_format_2000.csv.gz", land(tmp_path, "a,b", "1,2")
    with pytest.raises(SchemaMismatchError, match="Nothing was changed"):
        ingest.main(ingest.parse_args(["higgs", str(right), str(wrong)]), settings, spark)
    assert tables.read(spark, landed("higgs").bronze, settings.lake).isEmpty()


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, ConfigurationError, "found no such file"),
        (b"", SchemaMismatchError, "an empty file"),
        (b"a,b\n1,2\n", SchemaMismatchError, "required one of the layouts list, bare"),
        (b"PK\x03\x04 and so on, then PK\x05\x06" + bytes(18), SchemaMismatchError, "an archive with nothing"),
    ],
)
def test_what_is_no_file_of_the_subject_is_refused_before_anything_is_written(
    shop: Shop, tmp_path: Path, content: bytes | None, error: type[Exception], said: str
) -> None:
    path = tmp_path / "depot_x.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error) as refused:
        shop.ingest(path)
    assert said in str(refused.value)
    assert (len(shop.bronze()), len(shop.refused())) == (0, 0)


@pytest.mark.parametrize("lines", [1, 5_000])
def test_a_gzip_that_was_cut_short_is_refused(shop: Shop, tmp_path: Path, lines: int) -> None:
    content = "\n".join([HEADER, *[f"{n},{n * 7919},1,,," for n in range(lines)]])
    (tmp_path / "depot_d.csv.gz").write_bytes(gzip.compress(content.encode())[:-9])
    with pytest.raises(ConfigurationError, match="a damaged archive"):
        shop.ingest(tmp_path / "depot_d.csv.gz")


@pytest.mark.long
def test_every_line_of_real_traffic_files_is_a_row_that_keeps_its_rules(
    spark: SparkSession, settings: Settings, real_file: Callable[[str], Path]
) -> None:
    # A preamble and carriage returns, hours of one digit, blank flows, blank classes.
    names = ("a40_2012", "2014_TMU_Site_105_LM937", "2014_TMU_Site_1129", "2014_TMU_Site_V4180_LM552")
    files = [real_file(f"uk_traffic/{name}.csv") for name in names]
    outcome = ingest.main(ingest.parse_args(["traffic_counts", *map(str, files)]), settings, spark)
    expected = flows_by_site(files)
    assert outcome.rows == {"bronze": sum(n for n, _ in expected.values()), "quarantine": 0, "known_files": 0}
    table = tables.read(spark, landed("traffic_counts").bronze, settings.lake)
    sums = table.groupBy("site").agg({"*": "count", "flow": "sum"}).toDF("site", "n", "flow").collect()
    assert {row.site: (row.n, pytest.approx(row.flow)) for row in sums} == expected
    assert table.where("flow IS NULL").count() > 0
    judged = validate.main(validate.parse_args(["--dataset", "bronze.traffic_counts"]), settings, spark)
    assert judged.facts["broken"]["bronze.traffic_counts"] == []


def flows_by_site(files: list[Path]) -> dict[str, tuple[int, float]]:
    """Rows and sum of flows of each site, read by Python."""
    rows: Counter[str] = Counter()
    flows: Counter[str] = Counter()
    for path in files:
        site = "30013683" if path.name.startswith("a40") else path.name.split("_Site_")[1].split("_")[0].split(".")[0]
        with gzip.open(path, "rt", newline="") as file:
            body = [row for row in csv.reader(file) if row and row[0][:2].isdigit() and "/" in row[0]]
        rows[site] += len(body)
        flows[site] += sum(float(row[3]) for row in body if row[3])
    return {site: (rows[site], flows[site]) for site in rows}


@pytest.mark.parametrize(
    ("subject", "files"),
    [
        pytest.param(
            "higgs",
            {"higgs/higgs_rows_0_9999_rounded.csv": 10_000, "higgs/higgs_random_10984_labelled_last.csv": 10_984,
             "higgs/HIGGS_uci_format_2000.csv": 2_000},
            marks=pytest.mark.long,
        ),
        pytest.param("higgs", {"higgs/lightgbm_binary.train.tsv": 7_000}, marks=pytest.mark.long),
        pytest.param("movie_ratings", {"movielens/ml-latest-small.zip": 100_836}, marks=pytest.mark.long),
        ("movies", {"movielens/ml-latest-small.zip": 9_742}),
        ("jobs", {"ai_jobs_2030/AI_Impact_on_Jobs_2030_2400.csv": 2_400}),
    ],
)  # fmt: skip
def test_every_line_of_the_other_real_files_is_a_row_that_keeps_its_rules(
    spark: SparkSession, settings: Settings, real_file: Callable[[str], Path], subject: str, files: dict[str, int]
) -> None:
    paths = [str(real_file(file)) for file in files]
    outcome = ingest.main(ingest.parse_args([subject, *paths]), settings, spark)
    assert (outcome.rows["bronze"], outcome.facts["quarantine_reasons"]) == (sum(files.values()), {})
    judged = validate.main(validate.parse_args(["--dataset", f"bronze.{subject}"]), settings, spark)
    broken, quarantined = (judged.facts[fact][f"bronze.{subject}"] for fact in ("broken", "quarantined"))
    assert (broken, quarantined) == ([], {})


def test_a_file_of_which_too_much_is_refused_fails_validation(
    spark: SparkSession, settings: Settings, samples: Path, tmp_path: Path
) -> None:
    packed = samples / "higgs" / "HIGGS_uci_format_2000.csv.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
    damaged = land(tmp_path, *lines[:1900], *[line.replace("e", "x") for line in lines[1900:]])
    ingest.main(ingest.parse_args(["higgs", str(damaged)]), settings, spark)
    with pytest.raises(ExpectationsFailedError, match=r"quarantine_share") as failed:
        validate.main(validate.parse_args(["--dataset", "bronze.higgs"]), settings, spark)
    assert failed.value.exit_code == 3


def test_a_table_that_grows_by_the_day_needs_its_days(spark: SparkSession, settings: Settings) -> None:
    create_tables(spark, settings)
    with pytest.raises(ConfigurationError, match="Pass --window"):
        validation.of_table(spark, settings, "silver.access_log", None)


def test_an_unknown_subject_ends_the_application_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ingest.parse_args(["hicks", "file.csv"])
    assert ended.value.code == 2
    assert "required one of higgs" in capsys.readouterr().err
