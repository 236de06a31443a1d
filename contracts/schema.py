"""What a table of the lake is: columns as Spark DDL types, key, layout."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Layer = Literal["bronze", "silver", "quarantine", "gold"]


class Column(BaseModel):
    """A column: Spark DDL type in lower case (``bigint``, ``array<string>``), unit or meaning in ``about``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    about: str
    nullable: bool = True


class Dataset(BaseModel):
    """A named table in the lake. ``key`` identifies a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ()
    properties: dict[str, str] = {}

    @property
    def layer(self) -> str:
        return self.name.split(".", 1)[0]

    @property
    def subject(self) -> str:
        return self.name.split(".", 1)[1]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def types(self) -> dict[str, str]:
        """SQL type by column, in the columns' order."""
        return {column.name: column.type for column in self.columns}

    @property
    def ddl(self) -> str:
        """Schema as Spark DDL, e.g. ``host string, status int``."""
        return ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' not null'}" for c in self.columns)

    def path(self, lake: Path) -> Path:
        return lake / self.layer / self.subject
