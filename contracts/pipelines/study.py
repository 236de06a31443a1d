"""Studies: one question about a dataset, asked of several ways of training. ``pipelines/studies/<name>.yaml``."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from contracts.datasets import DATASETS
from contracts.pipelines.parts import SPEC


class Shares(BaseModel):
    """Owners by chance: so many rows each, scaled to the rows that are found."""

    model_config = SPEC

    kind: Literal["shares"]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    shares: dict[str, int] = Field(min_length=2)

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(self.shares)

    @model_validator(mode="after")
    def _somebody_owns_something(self) -> Self:
        if wrong := [owner for owner, rows in self.shares.items() if rows < 1]:
            raise ValueError(f"at least one row for each owner; {', '.join(wrong)} has none")
        return self


class Groups(BaseModel):
    """Owners who differ: each has the rows with some values of a column. No value has two owners."""

    model_config = SPEC

    kind: Literal["groups"]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    column: str
    groups: dict[str, tuple[str, ...]] = Field(min_length=2)

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(self.groups)

    @model_validator(mode="after")
    def _one_owner_each(self) -> Self:
        values = [value for group in self.groups.values() for value in group]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"one owner for each value; {', '.join(twice)} has two")
        return self


class Federated(BaseModel):
    """Federated averaging: ``rounds`` of ``local_steps`` steps of gradient descent at each owner, then the average."""

    model_config = SPEC

    rounds: int = Field(ge=1)
    local_steps: int = Field(ge=1)
    step: float = Field(gt=0)


class StudySpec(BaseModel):
    """One model of everybody's rows against a model for each owner, on the same held-out rows."""

    model_config = SPEC

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str
    dataset: str
    key: tuple[str, ...] = Field(min_length=1)
    label: str
    classes: tuple[str, ...] = Field(min_length=2)
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    #: Columns that all but say the label: every figure is reported with all, without each, and without all of them.
    leaks: tuple[str, ...]
    owners: tuple[Annotated[Shares | Groups, Field(discriminator="kind")], ...] = Field(min_length=1)
    holdout_share: float = Field(gt=0, lt=1)
    #: At least two, for an interval; each with other held-out rows.
    repeats: int = Field(ge=2)
    seed: int
    reg_param: float = Field(ge=0)
    max_iter: int = Field(ge=1)
    federated: Federated
    #: Spread over the cluster by this column as well, to see how even that is.
    repartition_by: str

    @model_validator(mode="after")
    def _columns_exist(self) -> Self:
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset| one of {', '.join(sorted(DATASETS))}")
        known = DATASETS[self.dataset].column_names
        grouped = [each.column for each in self.owners if isinstance(each, Groups)]
        used = {
            "key": self.key, "label": (self.label,), "categorical": self.categorical, "numeric": self.numeric,
            "repartition_by": (self.repartition_by,), "owners": grouped,
        }  # fmt: skip
        for field, columns in used.items():
            if unknown := sorted(set(columns) - set(known)):
                raise ValueError(f"{field}| columns of {self.dataset}, which has no {', '.join(unknown)}")
        if stray := sorted(set(self.leaks) - {*self.categorical, *self.numeric}):
            raise ValueError(f"leaks| columns of categorical or numeric; {', '.join(stray)} is neither")
        return self

    def column_sets(self) -> dict[str, tuple[str, ...]]:
        """What models may read, by name: everything, without each leak, and without any."""
        every = (*self.categorical, *self.numeric)
        left_out: dict[str, tuple[str, ...]] = {"all": ()}
        left_out |= {f"without {leak}": (leak,) for leak in self.leaks}
        if len(self.leaks) > 1:
            left_out["without any leak"] = self.leaks
        return {name: tuple(c for c in every if c not in out) for name, out in left_out.items()}
