"""What is shipped with the page is what its list says, and nothing comes from elsewhere."""

import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).resolve().parents[2] / "serving" / "static"


def test_vendored_files_have_the_checksums_that_are_written_down() -> None:
    said = re.findall(r"`([^`]+\.js)`, unchanged.*?`([0-9a-f]{64})`", (STATIC / "vendor/README.md").read_text())
    assert said
    for file, checksum in said:
        assert hashlib.sha256((STATIC / "vendor" / file).read_bytes()).hexdigest() == checksum
    assert {file for file, _ in said} == {str(f.relative_to(STATIC / "vendor")) for f in STATIC.glob("vendor/**/*.js")}


def test_the_page_names_no_other_host_and_holds_no_inline_script_or_style() -> None:
    own = [f for f in STATIC.rglob("*") if f.is_file() and "vendor" not in f.parts]
    for file in own:
        text = file.read_text()
        outside = [url for url in re.findall(r"https?://[^\s\"')]+", text) if "www.w3.org" not in url]
        assert not outside, f"{file.name} names {outside}"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text), file.name
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "<style" not in page
    assert not re.search(r"\s(style|on\w+)=", page)
