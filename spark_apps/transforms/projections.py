"""Projections that are built once and applied to frame after frame.

A chain of thirty ``select`` is thousands of calls from Python to the JVM, which for the log parser cost a live stream
as much time as parsing. Spark's columns belong to no frame, so the chain is recorded and replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Projections:
    """Has those methods of a DataFrame that make a new one row by row; ``on`` carries them out."""

    #: Columns of the frame that the first step will see.
    columns: tuple[str, ...]
    steps: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def select(self, *columns: str | Column) -> Projections:
        return self._then("select", *columns)

    def withColumn(self, name: str, column: Column) -> Projections:  # noqa: N802 - Spark's name
        return self._then("withColumn", name, column)

    def withColumns(self, columns: dict[str, Column]) -> Projections:  # noqa: N802 - Spark's name
        return self._then("withColumns", columns)

    def drop(self, *names: str) -> Projections:
        return self._then("drop", *names)

    def on(self, frame: DataFrame) -> DataFrame:
        for method, arguments in self.steps:
            frame = getattr(frame, method)(*arguments)
        return frame

    def _then(self, method: str, *arguments: object) -> Projections:
        return replace(self, steps=(*self.steps, (method, arguments)))


def recorded(build: Callable[[Projections], Projections]) -> Callable[[DataFrame], DataFrame]:
    """``build`` as a function of frames; it is called once for every list of column names."""

    # Columns live in one JVM; a process that starts another one, as tests may, needs them anew.
    @lru_cache(maxsize=16)
    def build_once(columns: tuple[str, ...], _jvm: object) -> Projections:
        return build(Projections(columns))

    def apply(frame: DataFrame) -> DataFrame:
        jvm = frame.sparkSession.sparkContext._jvm  # noqa: SLF001 - nothing public tells one JVM from another
        return build_once(tuple(frame.columns), id(jvm)).on(frame)

    apply.__doc__ = build.__doc__
    apply.__name__ = build.__name__
    return apply
