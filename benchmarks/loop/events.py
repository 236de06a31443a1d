"""What is planted into a year: changes of the world, which a model must follow, and faults of the data, which none may.

A change of the world alters the true rows; a fault only what is landed of them.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

Frame = pd.DataFrame
Expected = Literal["trained", "held back"]

HIGGS_LABEL, HIGGS_CUT = "label", "m_wwbb"
FLOW = "Total Carriageway Flow"
_AT = "Local Time"


class Event(NamedTuple):
    """From window ``first`` (the first is 1) to ``last`` (None: to the end of the year) rows are as ``change`` says."""

    kind: str
    about: str
    first: int
    last: int | None
    change: Callable[[Frame], Frame]
    is_fault: bool = False

    @property
    def expected(self) -> Expected:
        """What a platform should do: train because of it, or keep its rows away from every training."""
        return "held back" if self.is_fault else "trained"

    def holds(self, window: int) -> bool:
        return self.first <= window and (self.last is None or window <= self.last)


def of_collisions() -> list[Event]:
    """For half-monthly files of HIGGS."""
    return [
        Event("concept drift", "but for the lightest fifth signal and background change places", 4, None, _turned),
        Event("covariate shift", "three in four without a b-tagged first jet are lost", 9, None, _untagged),
        Event("sensor outage", "missing energy blank in every second line", 11, 11, _blank_energy, is_fault=True),
        Event("prior shift", "two of three background collisions are filtered out", 13, 17, _less_background),
        Event("unit change", "the missing energy comes in miles instead of kilometres", 15, 15, _miles, is_fault=True),
        Event("end of prior shift", "the filter is taken out again", 18, None, _unchanged),
        Event("schema change", "the column m_bb is called mass_bb", 21, 21, _renamed, is_fault=True),
    ]  # fmt: skip


def of_traffic() -> list[Event]:
    """For weekly files of one site."""
    return [
        Event("covariate shift", "a new estate: half as many vehicles again", 6, None, lambda f: _times(f, 1.5)),
        Event("sensor outage", "no flows from Tuesday to Friday", 13, 13, _no_flows, is_fault=True),
        Event("unit change", "vehicles an hour instead of a quarter", 18, 19, lambda f: _times(f, 4.0), is_fault=True),
        Event("schema change", "the column of flows is called Volume", 23, 23, _volume, is_fault=True),
        Event("concept drift", "lights: every second quarter heavy, the next one light", 28, None, _platoons),
        Event("prior shift", "road works: 45 % fewer vehicles", 40, None, lambda f: _times(f, 0.55)),
    ]  # fmt: skip


def true_rows(rows: Frame, events: Sequence[Event], window: int) -> Frame:
    """The rows of a window as the world made them."""
    return _changed(rows, [event for event in events if not event.is_fault and event.holds(window)])


def landed_rows(rows: Frame, events: Sequence[Event], window: int) -> Frame:
    """The rows of a window as they arrive, faults and all."""
    faults = [event for event in events if event.is_fault and event.holds(window)]
    return _changed(true_rows(rows, events, window), faults)


def _changed(rows: Frame, events: Sequence[Event]) -> Frame:
    for event in events:
        rows = event.change(rows.copy())
    return rows


def _unchanged(rows: Frame) -> Frame:
    return rows


def _untagged(rows: Frame) -> Frame:
    lost = (rows["jet_1_btag"] == 0) & (_drawn(rows, 1) < 0.75)
    return rows[~lost]


def _less_background(rows: Frame) -> Frame:
    return rows[(rows[HIGGS_LABEL] == 1) | (_drawn(rows, 2) > 2 / 3)]


def _blank_energy(rows: Frame) -> Frame:
    rows["missing_energy_magnitude"] = rows["missing_energy_magnitude"].where(_drawn(rows, 3) > 0.5)
    return rows


def _miles(rows: Frame) -> Frame:
    rows["missing_energy_magnitude"] *= 0.621371
    return rows


def _renamed(rows: Frame) -> Frame:
    return rows.rename(columns={"m_bb": "mass_bb"})


def _turned(rows: Frame) -> Frame:
    heavy = rows[HIGGS_CUT] > rows[HIGGS_CUT].quantile(0.2)
    rows[HIGGS_LABEL] = rows[HIGGS_LABEL].where(~heavy, 1 - rows[HIGGS_LABEL])
    return rows


def _drawn(rows: Frame, salt: int) -> np.ndarray:
    """A number between 0 and 1 for each row, the same whenever the row is asked for."""
    return np.random.default_rng([salt, *rows.index[:1].to_numpy()]).random(len(rows))


def _times(rows: Frame, factor: float) -> Frame:
    rows[FLOW] = (rows[FLOW] * factor).round(1)
    return rows


def _no_flows(rows: Frame) -> Frame:
    days = pd.to_datetime(rows["Local Date"], dayfirst=True).dt.dayofweek
    rows[FLOW] = rows[FLOW].where(~days.between(1, 4))
    return rows


def _volume(rows: Frame) -> Frame:
    return rows.rename(columns={FLOW: "Volume"})


def _platoons(rows: Frame) -> Frame:
    quarter = pd.to_timedelta(rows[_AT]).dt.total_seconds() // 900
    rows[FLOW] = (rows[FLOW] * np.where(quarter % 2 == 0, 1.6, 0.4)).round(1)
    return rows
