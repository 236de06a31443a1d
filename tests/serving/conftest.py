"""A lake made of real log lines, and the page on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.lake_builder import LakeBuilder
from tests.serving.log_lines import Line
from tests.serving.page import Get, client_of, getter

MORNING = Path("nasa_http/access_09jul1995_am.log")


@pytest.fixture(scope="session")
def morning_log(request: pytest.FixtureRequest, samples: Path) -> Path:
    """12,430 requests of the morning of 9 July 1995, 00:00:00 to 11:59:xx, four hours west of UTC."""
    shipped = samples / MORNING
    return shipped if shipped.exists() else Path(request.getfixturevalue("shared_data")) / MORNING


@pytest.fixture(scope="session")
def morning_lines(morning_log: Path) -> list[bytes]:
    return morning_log.read_bytes().splitlines()


@pytest.fixture(scope="session")
def log(morning_lines: list[bytes]) -> list[Line]:
    return [Line(raw) for raw in morning_lines]


@pytest.fixture(scope="session")
def morning(tmp_path_factory: pytest.TempPathFactory, morning_lines: list[bytes]) -> LakeBuilder:
    """The morning in every table, with 20 redelivered lines and a forecast. Tests must not write to it."""
    builder = LakeBuilder(tmp_path_factory.mktemp("morning") / "lake")
    builder.add(morning_lines, duplicates=20)
    builder.write_forecast()
    return builder


@pytest.fixture(scope="module")
def morning_page(morning: LakeBuilder) -> Iterator[Get]:
    with client_of(morning.lake) as client:
        yield getter(client)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LakeBuilder]:
    """An empty lake of this test's own."""
    return LakeBuilder(tmp_path / "lake")
