"""Let Evidently judge windows with its defaults: `peer_drift.py FOLDER`, in the environment ``peers``.

FOLDER has N_before.parquet, N_now.parquet and N_moved.parquet. The last line of the output is a JSON list: for each N
the columns that were flagged in `now` and in `moved`.
"""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def flagged(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Columns whose drift the preset declares: p below, or distance above, the threshold that it chose."""
    result = Report([DataDriftPreset()]).run(now, before).dict()
    found = []
    for metric in result["metrics"]:
        config = metric["config"]
        if "column" not in config:
            continue
        is_p = "p_value" in config["method"]
        value, threshold = float(metric["value"]), float(config["threshold"])
        if (value < threshold) if is_p else (value >= threshold):
            found.append(config["column"])
    return found


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    answers = []
    for n in range(len(list(folder.glob("*_before.parquet")))):
        before, now, moved = (pd.read_parquet(folder / f"{n}_{name}.parquet") for name in ("before", "now", "moved"))
        answers.append([flagged(before, now), flagged(before, moved)])
    print(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
