"""The shipped samples are the real files, unchanged, and nothing that may not ship."""

import gzip
import hashlib
import zipfile
from pathlib import Path

import pytest

from contracts.landed_files import landed
from spark_apps.io import landing
from tests.replayed import lines_of

LINES = {
    "nasa_http/access_09jul1995_am.log": 12_430,
    "nasa_http/NASA_short.log": 7_084,
    "nasa_http/NASA_access_log_Jul95_sample.log": 1_000,
    "nasa_http/NASA_access_log_Aug95_sample.log": 1_000,
    "nasa_http/requests_per_second_1995-07-01_07-07.txt": 7 * 24 * 3600,
    "apache_combined/apache_combined_first3000.log": 3_000,
    "uk_traffic/a40_2010.csv.gz": 35_045,
    "uk_traffic/a40_2011.csv.gz": 35_045,
    "uk_traffic/a40_2012.csv.gz": 35_141,
    "uk_traffic/2014_TMU_Site_1009.csv.gz": 35_042,
    "uk_traffic/2014_TMU_Site_105_LM937.csv.gz": 35_041,
    "uk_traffic/2014_TMU_Site_11.csv.gz": 35_042,
    "uk_traffic/2014_TMU_Site_1128.csv.gz": 35_041,
    "uk_traffic/2014_TMU_Site_1129.csv.gz": 35_041,
    "uk_traffic/2014_TMU_Site_30014795_AL1850.csv.gz": 35_041,
    "uk_traffic/2014_TMU_Site_V2514_LM730.csv.gz": 35_045,
    "uk_traffic/2014_TMU_Site_V4180_LM552.csv.gz": 35_045,
    "higgs/higgs_rows_0_9999_rounded.csv.gz": 10_001,
    "higgs/higgs_random_10984_labelled_last.csv.gz": 10_985,
    "higgs/HIGGS_uci_format_2000.csv.gz": 2_000,
}
#: Site of each traffic file, in the order of their names; the A40 and V files say it in their preamble.
SITES = ["1009", "105", "11", "1128", "1129", "30014795", "V2514", "V4180", *["30013683"] * 3]


def content(path: Path) -> bytes:
    """A sample's bytes, of a gzip those inside it."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def listed(samples: Path) -> dict[str, str]:
    rows = (samples / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (row.split("  ", 1) for row in rows)}


def test_every_sample_has_its_checksum_and_every_checksum_its_sample(samples):
    ours = {"README.md", "SHA256SUMS", ".gitattributes"}
    files = {str(path.relative_to(samples)) for path in samples.rglob("*") if path.is_file()} - ours
    assert files == set(listed(samples))


def test_every_sample_is_unchanged(samples):
    for name, digest in listed(samples).items():
        assert hashlib.sha256((samples / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_sample_has_the_lines_that_its_page_promises(samples, name):
    assert len(lines_of(content(samples / name))) == LINES[name]
    (row,) = [row for row in (samples / "README.md").read_text().splitlines() if row.startswith(f"| `{name}` |")]
    assert f"| {LINES[name]:,} |" in row


def test_every_packed_sample_is_the_file_that_it_was_packed_from(samples, shared_data):
    packed = sorted(samples.rglob("*.gz"))
    assert len(packed) == 14
    for path in packed:
        (original,) = (shared_data / path.parent.name).rglob(path.stem)
        assert content(path) == original.read_bytes(), path.name
        # Without a name and a time, so that packing again gives the same bytes: flags, then four bytes of time.
        assert path.read_bytes()[3:8] == bytes(5), path.name
    films = "movielens/ml-latest-small.zip"
    assert content(samples / films) == content(shared_data / films)


def test_every_traffic_sample_says_its_site_though_it_is_packed(samples, settings):
    found = []
    for path in sorted((samples / "uk_traffic").iterdir()):
        with landing.opened(path, landed("traffic_counts"), settings) as (file,):
            found.append(file.identified.constants["site"])
    assert found == SITES


@pytest.mark.parametrize(
    ("subject", "name", "layouts"),
    [
        ("higgs", "higgs/higgs_rows_0_9999_rounded.csv.gz", ["csv with a header"]),
        ("higgs", "higgs/higgs_random_10984_labelled_last.csv.gz", ["csv with a header"]),
        ("higgs", "higgs/HIGGS_uci_format_2000.csv.gz", ["csv without a header, label first"]),
        ("movie_ratings", "movielens/ml-latest-small.zip", ["ratings.csv"]),
        ("movies", "movielens/ml-latest-small.zip", ["movies.csv"]),
    ],
)
def test_every_other_packed_sample_is_one_of_its_subject(samples, settings, subject, name, layouts):
    with landing.opened(samples / name, landed(subject), settings) as files:
        assert [file.identified.layout.name for file in files] == layouts


def test_the_terms_travel_with_the_files(samples):
    assert "may be freely redistributed" in (samples / "nasa_http" / "NASA-HTTP.html").read_text()
    assert "Apache License" in (samples / "apache_combined" / "LICENSE").read_text()
    page = (samples / "README.md").read_text().replace("\n", " ")
    assert "Contains public sector information licensed under the Open Government Licence v3.0" in page
    assert "by Daniel Whiteson, UCI Machine Learning Repository" in page
    assert "CC BY 4.0 (<https://creativecommons.org/licenses/by/4.0/>)" in page
    with zipfile.ZipFile(samples / "movielens" / "ml-latest-small.zip") as archive:
        terms = archive.read("ml-latest-small/README.txt")
    assert (samples / "movielens" / "README.txt").read_bytes() == terms
    assert b"so long as it is distributed under these same license conditions" in terms


def test_nothing_ships_that_may_not(samples):
    assert {path.name for path in samples.iterdir() if path.is_dir()} == {
        "apache_combined", "higgs", "movielens", "nasa_http", "uk_traffic",
    }  # fmt: skip


def test_no_attack_payload_ships(samples):
    assert not [path for path in samples.rglob("*.log") if b"w3af" in path.read_bytes()]
