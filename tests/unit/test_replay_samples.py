"""The shipped samples are the real files, unchanged, and nothing that may not ship."""

import hashlib
from pathlib import Path

import pytest

from tests.replayed import lines_of

LINES = {
    "nasa_http/access_09jul1995_am.log": 12_430,
    "nasa_http/NASA_short.log": 7_084,
    "nasa_http/NASA_access_log_Jul95_sample.log": 1_000,
    "nasa_http/NASA_access_log_Aug95_sample.log": 1_000,
    "nasa_http/requests_per_second_1995-07-01_07-07.txt": 7 * 24 * 3600,
    "apache_combined/apache_combined_first3000.log": 3_000,
}


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
    assert len(lines_of((samples / name).read_bytes())) == LINES[name]
    assert f"{LINES[name]:,}" in (samples / "README.md").read_text()


def test_the_terms_travel_with_the_files(samples):
    assert "may be freely redistributed" in (samples / "nasa_http" / "NASA-HTTP.html").read_text()
    assert "Apache License" in (samples / "apache_combined" / "LICENSE").read_text()


def test_no_attack_payload_ships(samples):
    assert not [path for path in samples.rglob("*.log") if b"w3af" in path.read_bytes()]
