"""What a run is about: days of a table that grows by the day, or a whole table at one version.

Days are *arrival* days in UTC: event time (1995!) never meets an Airflow interval.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.files import read_json, write_atomically


class Window(BaseModel):
    """A closed range of arrival days, and what decided it (``params``, ``data_interval`` or ``asset``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: date
    last_day: date
    decided_by: str = "params"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first_day > self.last_day:
            raise ValueError(f"first_day {self.first_day} is after last_day {self.last_day}")
        return self

    @property
    def days(self) -> list[date]:
        return [self.first_day + timedelta(days=n) for n in range((self.last_day - self.first_day).days + 1)]

    @property
    def about(self) -> str:
        """How a message calls it; equal for two runs about the same rows."""
        return f"{self.first_day} to {self.last_day}"

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate(read_json(path, "the window of this run"))


class TableVersion(BaseModel):
    """A whole table at one version of Delta's log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    table_version: int = Field(ge=0)

    @property
    def about(self) -> str:
        return f"version {self.table_version} of {self.dataset}"

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate(read_json(path, "the table version of this run"))
