"""False alarms on real series whose rows depend on their neighbours, and the site whose level really changed."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.figures import Figures
from contracts.pipelines.drift import DriftPolicy
from contracts.settings import REPOSITORY
from spark_apps.ml.drift import bins, judging, rhythm, sketches
from spark_apps.ml.drift.bins import Plan
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.sketches import Sketch

SAMPLES = REPOSITORY / "samples"
WEEK_S = 7 * 86_400
#: The site whose level rose by a half in the autumn: no part of the false alarms, but to be found.
CHANGED = "V2514"
#: Its first week on the new level.
CHANGED_IN_WEEK = 41
DRAWS = 300
_LOG = SAMPLES / "nasa_http" / "requests_per_second_1995-07-01_07-07.txt"


def measure(figures: Figures) -> None:
    """Stretches drawn from a series against the rest of it: all of them are the same series."""
    sites = _sites()
    calm = {name: frame for name, frame in sites.items() if name != CHANGED}
    random = np.random.default_rng(20)
    for weeks in (1, 2, 4):
        shares = _alarm_rates(lambda w=weeks: _checks_of_sites(calm, w, random), DRAWS)
        _add(figures, f"traffic_weeks.{weeks}", shares)
    volume = _requests_per_minute()
    for hours in (1, 3, 6):
        shares = _alarm_rates(lambda h=hours: _check_of_stretch(volume, h * 3600, 1, random), DRAWS)
        _add(figures, f"log_volume_hours.{hours}", shares)
    _changed_site(figures, sites)
    _rhythms(figures, {"traffic": list(calm.values()), "log": [volume]}, random)


def _add(figures: Figures, name: str, shares: dict[str, float]) -> None:
    limit = 0.05 + (0.05 * 0.95 / DRAWS) ** 0.5
    figures.add(f"{name}.millrace", shares["millrace"], "share of checks", f"<= {limit:.3f} (.05, its standard error)")
    figures.add(f"{name}.as_independent_rows", shares["as_independent_rows"], "share of checks", "")
    figures.add(f"{name}.psi_above_0.1", shares["psi"], "share of checks", "")


def _alarm_rates(check: Callable[[], list[list[Shift]]], draws: int) -> dict[str, float]:
    said: dict[str, list[bool]] = {"millrace": [], "as_independent_rows": [], "psi": []}
    for _ in range(draws):
        as_blocks, as_rows = check()
        said["millrace"].append(any(shift.is_drift for shift in as_blocks))
        said["as_independent_rows"].append(any(shift.is_drift for shift in as_rows))
        said["psi"].append(any(shift.distances.get("psi", 0.0) > 0.1 for shift in as_rows))
    return {rule: float(np.mean(values)) for rule, values in said.items()}


def _checks_of_sites(
    sites: dict[str, pd.DataFrame], weeks: int, random: np.random.Generator
) -> tuple[list[Shift], list[Shift]]:
    """One check over all sites, the same weeks of a year of each; corrected together."""
    place = random.random()
    found = [_compared(*_cut(frame, WEEK_S, weeks, place, random), WEEK_S) for frame in sites.values()]
    policies = (_policy(WEEK_S), _policy(None))
    return tuple(  # type: ignore[return-value]
        judging.corrected([shift for pair in found for shift in pair[n]], policy) for n, policy in enumerate(policies)
    )


def _check_of_stretch(
    frame: pd.DataFrame, block_s: int, blocks: int, random: np.random.Generator
) -> tuple[list[Shift], list[Shift]]:
    as_blocks, as_rows = _compared(*_cut(frame, block_s, blocks, random.random(), random), block_s)
    return judging.corrected(as_blocks, _policy(block_s)), judging.corrected(as_rows, _policy(None))


def _cut(
    frame: pd.DataFrame, block_s: int, blocks: int, place: float, random: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A stretch of so many whole blocks at this place (0 to 1) of one of the years, and what is left."""
    block = frame["at"].astype("int64") // 1_000_000 // block_s
    lowest, n_places = int(block.min()) + 1, int(block.max()) - int(block.min()) - blocks
    years = max(round(n_places * block_s / (365 * 86_400)), 1)
    first = lowest + int((place + int(random.integers(years))) / years * n_places)
    inside = block.between(first, first + blocks - 1)
    return frame[~inside], frame[inside]


def _compared(reference: pd.DataFrame, window: pd.DataFrame, block_s: int) -> tuple[list[Shift], list[Shift]]:
    columns = [name for name in reference.columns if name != "at"]
    plan = Plan(
        columns=bins.of_sample(pa.Table.from_pandas(reference[columns], preserve_index=False)),
        ordered_by="at", block_s=block_s,
    )  # fmt: skip
    counts = [counted(pa.Table.from_pandas(frame, preserve_index=False), plan) for frame in (reference, window)]
    return judging.compare(*counts, _policy(block_s)), judging.compare(*counts, _policy(None))


def counted(rows: pa.Table, plan: Plan) -> Sketch:
    """Counts as Spark's tasks make them, without Spark."""
    batches = (sketches.with_keys(batch, plan) for batch in rows.to_batches(16_384))
    return sketches.added(sketches.tallied(batches, plan).to_pylist(), plan)


def _policy(block_s: int | None) -> DriftPolicy:
    hours = None if block_s is None else block_s / 3600
    # A stretch of an hour has 60 rows; it is the blocks that count.
    return DriftPolicy(cron="0 4 * * 1", block_hours=hours, min_rows=50)


def _changed_site(figures: Figures, sites: dict[str, pd.DataFrame]) -> None:
    """All sites week by week: the changed one is known up to its change, the others up to the same share of theirs."""
    share = CHANGED_IN_WEEK / 52
    known = {name: frame["at"].min() + (frame["at"].max() - frame["at"].min()) * share for name, frame in sites.items()}
    first, alarms, others = 0, [], []
    for week in range(10):
        shifts = []
        for name, frame in sites.items():
            start = known[name] + pd.Timedelta(days=7 * week)
            window = frame[(frame["at"] > start) & (frame["at"] <= start + pd.Timedelta(days=7))]
            as_blocks, _ = _compared(frame[frame["at"] <= known[name]], window, WEEK_S)
            shifts += [shift.model_copy(update={"group": name}) for shift in as_blocks]
        found = {shift.group for shift in judging.corrected(shifts, _policy(WEEK_S)) if shift.is_drift}
        alarms.append(CHANGED in found)
        others.append(bool(found - {CHANGED}))
        if CHANGED in found and not first:
            first = week + 1
    figures.add("changed_site.first_week_found", first, "weeks after the change", "<= 2" if first else "found")
    figures.add("changed_site.weeks_found", sum(alarms), "of 10 weeks", ">= 1")
    figures.add("changed_site.weeks_another_site_was_named", sum(others), "of 10 weeks", "")


def _rhythms(figures: Figures, series: dict[str, list[pd.DataFrame]], random: np.random.Generator) -> None:
    """A day drawn from a series against all other days, as it was and with its hours moved by a quarter of a day."""
    limit = 0.05 + (0.05 * 0.95 / DRAWS) ** 0.5
    for name, frames in series.items():
        days = [_days(frame) for frame in frames]
        alarms = {0: 0, 6: 0}
        for _ in range(DRAWS):
            of = days[int(random.integers(len(days)))]
            drawn = sorted(of)[int(random.integers(len(of)))]
            for moved in alarms:
                now = [cell._replace(hour=(cell.hour + moved) % rhythm.HOURS) for cell in of[drawn]]
                others = [cell for day, cells in of.items() if day != drawn for cell in cells]
                pair = (rhythm.of_cells(cells, "sum") for cells in (others, now))
                found = judging.corrected(rhythm.compare(*pair, _policy(WEEK_S)), _policy(WEEK_S))
                alarms[moved] += any(shift.is_drift for shift in found)
        goal = f"<= {limit:.3f} (.05, its standard error)"
        figures.add(f"rhythm.{name}.alarms_of_its_own_days", alarms[0] / DRAWS, "share of checks", goal)
        figures.add(f"rhythm.{name}.six_hours_found", alarms[6] / DRAWS, "share of checks", "")


def _days(frame: pd.DataFrame) -> dict[int, list[rhythm.Cell]]:
    """The hours of every day of a series, whose days begin where it begins."""
    value = next(name for name in frame.columns if name != "at")
    hours = frame["at"].astype("int64") // 1_000_000 // 3600
    counted = frame.groupby([(hours - hours.min()) // rhythm.HOURS, hours % rhythm.HOURS])[value].agg(["count", "sum"])
    found: dict[int, list[rhythm.Cell]] = {}
    for (day, hour), (rows, total) in zip(counted.index, counted.to_numpy(), strict=True):
        found.setdefault(int(day), []).append(rhythm.Cell(None, int(day), int(hour), int(rows), float(total)))
    return found


def _sites() -> dict[str, pd.DataFrame]:
    """Flow in each site's quarters of an hour, in order."""
    found: dict[str, list[pd.DataFrame]] = {}
    for path in sorted((SAMPLES / "uk_traffic").glob("*.csv.gz")):
        name = "A40" if path.name.startswith("a40") else path.name.split("_")[3].removesuffix(".csv.gz")
        found.setdefault(name.split(".")[0], []).append(_quarters(path))
    return {name: pd.concat(parts).sort_values("at", ignore_index=True) for name, parts in found.items()}


def _quarters(path: Path) -> pd.DataFrame:
    lines = gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("Local Date"))
    frame = pd.read_csv(io.StringIO("\n".join(lines[head:])), index_col=False, skipinitialspace=True, low_memory=False)
    frame.columns = [name.strip() for name in frame.columns]
    at = pd.to_datetime(frame["Local Date"] + " " + frame["Local Time"], dayfirst=True, format="mixed")
    flow = pd.to_numeric(frame["Total Carriageway Flow"], errors="coerce")
    return pd.DataFrame({"at": at.astype("datetime64[us]"), "flow": flow})


def _requests_per_minute() -> pd.DataFrame:
    """Requests of each minute of a week of July 1995, minutes without any included."""
    seconds = np.loadtxt(_LOG, dtype=np.int64)
    counts = seconds[: len(seconds) // 60 * 60].reshape(-1, 60).sum(1)
    at = np.datetime64("1995-07-01T04:00") + np.arange(len(counts)) * np.timedelta64(1, "m")
    return pd.DataFrame({"at": at.astype("datetime64[us]"), "requests": counts})
