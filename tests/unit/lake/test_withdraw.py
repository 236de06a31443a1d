"""A landed file is taken out of its tables: its rows and no others, once, and its content can land again."""

from __future__ import annotations

import shutil
from argparse import Namespace
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConfigurationError
from contracts.landed import Landed, LandedField, Layout
from spark_apps import ingest
from spark_apps.io import tables
from spark_apps.io.withdrawals import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from contracts.settings import Settings

LETTERS = Landed(
    subject="letters",
    about="Made for these tests.",
    fields=(
        LandedField(column="id", type="bigint", about="-", names=("Id",)),
        LandedField(column="to", type="string", about="-", names=("To",)),
    ),
    layouts=(Layout(name="list", header=True),),
)
GONE = {"withdrawn_from_bronze": 2, "withdrawn_from_quarantine": 1}
MINE, OTHERS = [("a.csv", 1), ("a.csv", 2), ("a.csv", "one,x")], [("b.csv", 7), ("b.csv", "seven,x")]


class Office:
    """Lands files of LETTERS and withdraws them. Of what is in ``a.csv`` two lines fit and one does not."""

    def __init__(self, spark: SparkSession, settings: Settings, folder: Path) -> None:
        self.spark, self.settings, self.folder = spark, settings, folder

    def land(self, name: str = "a.csv", *lines: str) -> dict[str, int]:
        path = self.folder / name
        path.write_text("\n".join(["Id,To", *(lines or ("1,x", "2,y", "one,x"))]) + "\n", encoding="utf-8")
        return ingest.main(Namespace(subject=LETTERS, files=[path], withdraw=None), self.settings, self.spark).rows

    def withdraw(self, asked: str = "a.csv") -> dict[str, int]:
        return ingest.main(Namespace(subject=LETTERS, files=[], withdraw=asked), self.settings, self.spark).rows

    def refuses(self, asked: str) -> str:
        with pytest.raises(ConfigurationError) as refused:
            self.withdraw(asked)
        assert refused.value.exit_code == 2
        return str(refused.value)

    def rows(self) -> list[tuple[str, int | str]]:
        """Of bronze the numbers, of quarantine the lines."""
        lake = self.settings.lake
        fitting = tables.read(self.spark, LETTERS.bronze, lake).select("source_file", "id").collect()
        refused = tables.read(self.spark, LETTERS.quarantine, lake).select("source_file", "line").collect()
        return [*sorted(map(tuple, fitting)), *sorted(map(tuple, refused))]

    def versions(self) -> list[int]:
        both = (LETTERS.bronze, LETTERS.quarantine)
        return [tables.version(self.spark, dataset, self.settings.lake) for dataset in both]


@pytest.fixture
def office(spark: SparkSession, settings: Settings, tmp_path: Path) -> Office:
    return Office(spark, settings, tmp_path)


@contextmanager
def dying_at(layer: str) -> Iterator[None]:
    """The process ends where it would commit to this layer."""
    real = tables.replace

    def dies(rows, dataset, *rest, **more) -> None:
        if dataset.layer == layer:
            raise KeyboardInterrupt
        real(rows, dataset, *rest, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "replace", dies)
        yield


@pytest.mark.spark
def test_the_rows_of_one_file_leave_both_tables_and_all_others_stay(office: Office) -> None:
    office.land("b.csv", "7,z", "seven,x")
    office.land()
    before = office.versions()
    assert office.withdraw() == GONE
    assert office.rows() == OTHERS
    # One commit to each table, and what was before can still be read.
    assert office.versions() == [number + 1 for number in before]
    earlier = tables.read(office.spark, LETTERS.bronze, office.settings.lake, at_version=before[0])
    assert sorted(row.id for row in earlier.collect()) == [1, 2, 7]
    said = office.refuses("a.csv")
    assert "Withdrawing a.csv from letters: found no such file, but b.csv (" in said
    assert "rows 1 + 1 in quarantine); required the name of one stored file" in said
    assert "Nothing was changed." in said
    assert (office.rows(), office.versions()) == (OTHERS, [number + 1 for number in before])


@pytest.mark.long
@pytest.mark.spark
def test_the_same_content_is_stored_again_after_every_withdrawal_and_only_then(office: Office) -> None:
    stored, known = {"bronze": 2, "quarantine": 1, "known_files": 0}, {"bronze": 0, "quarantine": 0, "known_files": 1}
    for _ in range(2):
        assert office.land() == stored
        assert office.land() == known
        assert office.rows() == MINE
        assert office.withdraw() == GONE
        assert office.rows() == []


@pytest.mark.long
@pytest.mark.spark
def test_a_newer_contract_and_an_older_one_still_count_after_a_withdrawal(office: Office) -> None:
    newer = LETTERS.model_copy(update={"version": 2})
    files = [office.folder / "a.csv"]
    office.land()
    office.withdraw()
    office.land()
    for contract, known in ((newer, 0), (newer, 1), (LETTERS, 1)):
        again = ingest.main(Namespace(subject=contract, files=files, withdraw=None), office.settings, office.spark)
        assert (contract.version, again.rows["known_files"]) == (contract.version, known)
    assert office.rows() == MINE


@pytest.mark.spark
@pytest.mark.parametrize("is_withdrawn_again", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_withdrawal_that_died_between_its_commits_is_finished_and_blocks_nothing(
    office: Office, is_withdrawn_again: bool
) -> None:
    office.land()
    with dying_at("quarantine"), pytest.raises(KeyboardInterrupt):
        office.withdraw()
    assert office.rows() == [("a.csv", "one,x")]
    if is_withdrawn_again:
        assert office.withdraw() == {"withdrawn_from_bronze": 0, "withdrawn_from_quarantine": 1}
        assert office.rows() == []
    assert office.land()["known_files"] == 0
    assert office.rows() == MINE
    assert office.withdraw() == GONE


@pytest.mark.spark
def test_a_file_of_which_the_ingest_died_half_way_is_withdrawn_and_lands_whole(office: Office) -> None:
    with dying_at("bronze"), pytest.raises(KeyboardInterrupt):
        office.land()
    assert office.withdraw() == {"withdrawn_from_bronze": 0, "withdrawn_from_quarantine": 1}
    office.land()
    assert office.rows() == MINE


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("layer", ["bronze", "quarantine"])
def test_a_withdrawal_is_remembered_when_one_of_the_tables_is_made_anew(office: Office, layer: str) -> None:
    office.land()
    office.withdraw()
    shutil.rmtree(office.settings.lake / layer / "letters")
    office.land()
    assert office.rows() == MINE


@pytest.mark.long
@pytest.mark.spark
def test_of_two_files_of_one_name_the_one_with_the_checksum_goes(office: Office) -> None:
    office.land()
    bad = sha256((office.folder / "a.csv").read_bytes()).hexdigest()
    office.land("a.csv", "1,x", "2,y", "3,x")
    said = office.refuses("a.csv")
    assert "found 2 files that this means: a.csv (" in said
    assert bad[:12] in said
    assert "Name it by its SHA-256" in said
    assert office.withdraw(bad[:8]) == GONE
    assert office.rows() == [("a.csv", 1), ("a.csv", 2), ("a.csv", 3)]


@pytest.mark.spark
def test_where_nothing_has_landed_nothing_is_withdrawn_and_no_table_is_made(office: Office) -> None:
    assert "found no landed file at all" in office.refuses("a.csv")
    assert not office.settings.lake.exists()


@pytest.mark.parametrize(
    ("asked", "is_meant"),
    [
        ("films.zip!in/ratings.csv", True), ("films.zip", True), ("0123abcd", True), ("0123ABCD4", True),
        ("0123abcd" + 56 * "4", True), ("0123abc", False), ("123abcd4", False), ("0123abcd" + 57 * "4", False),
        ("ratings.csv", False), ("films", False), ("FILMS.ZIP", False), ("", False),
    ],
)  # fmt: skip
def test_a_file_is_named_whole_or_by_eight_digits(asked: str, is_meant: bool) -> None:
    file = Stored("0123abcd" + 56 * "4", ("films.zip!in/ratings.csv",), 1, 0)
    assert file.is_meant_by(asked) is is_meant


@pytest.mark.parametrize("words", [["higgs"], ["higgs", "a.csv", "--withdraw", "b.csv"]])
def test_either_files_or_a_withdrawal_is_asked_for(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ingest.parse_args(words)
    assert ended.value.code == 2
    assert "either FILE... to ingest, or --withdraw NAME_OR_SHA is required" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["higgs", "a", "b"], ["higgs", "--run-id", "r", "a", "b"], ["--run-id", "r", "higgs", "a", "b"]]
)
def test_files_may_stand_behind_an_option(words: list[str]) -> None:
    args = ingest.parse_args(words)
    assert (args.subject.subject, args.files, args.withdraw) == ("higgs", [Path("a"), Path("b")], None)
