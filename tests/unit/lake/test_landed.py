"""Which layout a landed file has, told from its first lines: the real files, and files with something wrong."""

from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from contracts.errors import ConfigurationError, SchemaMismatchError
from contracts.landed import FIRST_LINES, Landed, LandedField, Layout, cut, identify
from contracts.landed_files import HIGGS, HIGGS_FEATURES, JOBS, LANDED, MOVIE_RATINGS, MOVIES, TRAFFIC_COUNTS, landed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRIS = (
    "Local Date, Local Time, Day Type ID, Total Carriageway Flow, Total Flow vehicles less than 5.2m, Total Flow "
    "vehicles 5.21m - 6.6m, Total Flow vehicles 6.61m - 11.6m, Total Flow vehicles above 11.6m, Speed Value,"
)
ROW = "01/01/2014,9:15:00,14,168,145,1,3,19,121.06"


def first_lines(path: Path) -> list[str]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
        return [file.readline().rstrip("\r\n") for _ in range(30)]


@pytest.mark.parametrize(
    ("subject", "file", "layout", "first_row"),
    [
        ("higgs", "higgs/higgs_rows_0_9999_rounded.csv", "csv with a header", 2),
        ("higgs", "higgs/higgs_random_10984_labelled_last.csv", "csv with a header", 2),
        ("higgs", "higgs/HIGGS_uci_format_2000.csv", "csv without a header, label first", 1),
        ("higgs", "higgs/lightgbm_binary.train.tsv", "tsv without a header, label first", 1),
        ("traffic_counts", "uk_traffic/tris_a40_al2471/a40_2010.csv", "TRIS report", 5),
        ("traffic_counts", "uk_traffic/tris_tmu_2014/2014_TMU_Site_105_LM937.csv", "TRIS report", 2),
        ("jobs", "ai_jobs_2030/AI_Impact_on_Jobs_2030_2400.csv", "csv with a header", 2),
    ],
)
def test_real_files_are_recognised(
    real_file: Callable[[str], Path], subject: str, file: str, layout: str, first_row: int
) -> None:
    path = real_file(file)
    found = identify(landed(subject), path.name, first_lines(path))
    assert (found.layout.name, found.first_row) == (layout, first_row)
    row = first_lines(path)[first_row - 1]
    assert len(cut(row, found.layout.delimiter)) == len(found.columns)


def test_every_traffic_file_says_its_site_in_the_preamble_or_in_its_name(samples: Path) -> None:
    files = sorted((samples / "uk_traffic").glob("*.csv.gz"))
    sites = [identify(TRAFFIC_COUNTS, path.name, first_lines(path)).constants["site"] for path in files]
    assert sites == ["1009", "105", "11", "1128", "1129", "30014795", "V2514", "V4180"] + ["30013683"] * 3


def test_the_members_of_the_film_archive_are_told_apart(samples: Path) -> None:
    with zipfile.ZipFile(samples / "movielens" / "ml-latest-small.zip") as archive:
        for subject in (MOVIE_RATINGS, MOVIES):
            (member,) = [name for name in archive.namelist() if subject.belongs(name)]
            lines = archive.read(member).decode().splitlines()[:30]
            assert identify(subject, member, lines).first_row == 2


def test_the_label_may_stand_first_or_last_and_names_may_be_the_publishers_or_numbers() -> None:
    names = ",".join(f"x{n}" for n in range(1, 29))
    first = identify(HIGGS, "a.csv", [f"response,{names}", ",".join(["1"] * 29)])
    last = identify(HIGGS, "b.csv", [",".join(HIGGS_FEATURES).upper() + ",label", ",".join(["1"] * 29)])
    assert first.columns == ("label", *HIGGS_FEATURES)
    assert last.columns == (*HIGGS_FEATURES, "label")


def test_a_preamble_of_any_length_up_to_twenty_lines_is_skipped() -> None:
    for length in (0, 1, 20):
        found = identify(TRAFFIC_COUNTS, "x_Site_7.csv", ["notes"] * length + [TRIS, ROW])
        assert (found.first_row, found.constants) == (length + 2, {"site": "7"})
        assert found.columns[:3] == ("starts_at", None, "day_type")
    with pytest.raises(SchemaMismatchError, match="no header with"):
        identify(TRAFFIC_COUNTS, "x_Site_7.csv", ["notes"] * 21 + [TRIS, ROW])


def test_blank_lines_as_far_as_a_file_is_looked_at_say_nothing_about_what_follows() -> None:
    first = [TRIS, *[""] * FIRST_LINES][:FIRST_LINES]
    assert identify(TRAFFIC_COUNTS, "x_Site_7.csv", first).first_row == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "found an empty file"),
        (["", "  "], "found an empty file"),
        ([TRIS], "a header and no row after it"),
        ([TRIS, "", "  "], "a header and no row after it"),
        ([TRIS.replace("Day Type ID, ", ""), ROW], "a header with no column day_type"),
        ([TRIS.replace("Speed Value", "Speed mph"), ROW], "no column speed_km_h, unknown columns speed mph"),
        ([TRIS + "Speed Value", ROW], "a header with twice speed_km_h"),
        ([TRIS.replace(" Local Time,", ""), ROW], "not behind the field it belongs to: Local Time"),
        ([TRIS.replace(" Local Time,", "") + "Local Time", ROW], "not behind the field it belongs to: Local Time"),
        ([TRIS + "Local Time", ROW], "not behind the field it belongs to: Local Time"),
        (["a,b,c", "1,2,3"], "no header with local date"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_is_wrong(lines: list[str], said: str) -> None:
    with pytest.raises(SchemaMismatchError) as refused:
        identify(TRAFFIC_COUNTS, "x_Site_7.csv", lines)
    assert said in str(refused.value)
    assert "Reading x_Site_7.csv as traffic_counts" in str(refused.value)


def test_a_file_that_does_not_say_its_site_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="nothing that says site"):
        identify(TRAFFIC_COUNTS, "download.csv", [TRIS, ROW])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",".join(["1"] * 28), "28 fields in the first line, and not 29"),
        (",".join(["1"] * 28 + ["high"]), "texts in the first line where m_wwbb are numbers"),
    ],
)
def test_a_file_without_a_header_must_have_the_right_width_and_numbers(line: str, said: str) -> None:
    with pytest.raises(SchemaMismatchError, match=said):
        identify(HIGGS, "h.csv", [line])


def test_a_header_without_one_column_is_told_by_the_column_though_a_layout_without_a_header_is_as_near() -> None:
    names = [*HIGGS_FEATURES, "label"]
    for lacking, said in ((["m_wwbb"], "no column m_wwbb;"), (["m_bb", "m_wwbb"], "no column m_bb, m_wwbb;")):
        header = ",".join(name for name in names if name not in lacking)
        with pytest.raises(SchemaMismatchError, match=f"found a header with {said}"):
            identify(HIGGS, "h.csv", [header, ",".join(["1"] * header.count(","))])


def test_fields_lose_quotes_and_blanks_and_a_last_empty_one() -> None:
    assert cut('11,"American President, The (1995)",Comedy', ",") == ["11", "American President, The (1995)", "Comedy"]
    assert cut(" a, b ,", ",") == ["a", "b"]
    assert cut("", ",") == []


@pytest.mark.parametrize("subject", LANDED)
def test_tables_of_a_subject_say_where_a_row_came_from(subject: str) -> None:
    contract = landed(subject)
    for dataset in (contract.bronze, contract.quarantine):
        assert dataset.column_names[:3] == ["source_file", "source_sha256", "source_line"]
        assert dataset.key == ("source_sha256", "source_line")
    assert contract.bronze.name == f"bronze.{subject}"


def test_an_unknown_subject_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="required one of higgs, traffic_counts"):
        landed("hicks")


def field(column: str, name: str, **more: object) -> LandedField:
    return LandedField.model_validate({"column": column, "type": "int", "about": "-", "names": (name,)} | more)


@pytest.mark.parametrize(
    ("fields", "layout", "said"),
    [
        ((field("a", "x"), field("a", "y")), {"header": True}, "column a stands there twice"),
        ((field("a", "x"), field("b", "x")), {"header": True}, "name in a header x stands there twice"),
        ((field("a", "x"),), {"header": False, "order": ("b",)}, "must name every field once"),
        ((field("a", "x"),), {"header": True, "order": ("a",)}, "either the header says the order"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(fields: tuple, layout: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Landed(subject="s", about="-", fields=fields, layouts=(Layout(name="l", **layout),))


@pytest.mark.parametrize("more", [{"type": "date"}, {"formats": ("d/M/yyyy",)}])
def test_times_need_formats_and_nothing_else_has_them(more: dict) -> None:
    with pytest.raises(ValidationError, match="need formats"):
        field("a", "x", **more)


def test_the_jobs_contract_names_all_columns_of_the_published_file() -> None:
    assert len(JOBS.fields) == 18
