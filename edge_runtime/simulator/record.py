"""A day as a recording with its truth beside it: what `edge-runtime replay --truth` reads.

layout.json  reference.jpg  day.json  frames/<number>.jpg  truth.csv

truth.csv has the columns of a field dataset (`frame,condition,severity,slot,state,covered`) and two more: `t`, seconds
since the first frame, and `stock`, what stands in the slot even if it is hidden.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from edge_runtime.simulator.day import Day
from edge_runtime.simulator.demo import commission
from edge_runtime.simulator.sensor import jpeg

COLUMNS = ("frame", "condition", "severity", "slot", "state", "covered", "t", "stock")
Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


def record_day(folder: Path, day: Day, interval_s: float, until_s: float, progress: Progress | None = None) -> None:
    """Render a frame each `interval_s` from the beginning to before `until_s`; a recording that is there is kept.

    Raises OSError when the folder can not be written.
    """
    if (folder / "day.json").exists():
        return
    shutil.rmtree(folder / "frames", ignore_errors=True)
    (folder / "frames").mkdir(parents=True)
    commission(folder, day)
    count = max(1, int(until_s / interval_s))
    with (folder / "truth.csv").open("w", newline="") as sheet:
        rows = csv.writer(sheet, lineterminator="\n")
        rows.writerow(COLUMNS)
        for number in range(count):
            t = number * interval_s
            shot = day.frame_at(t)
            name = f"{number:05d}"
            (folder / "frames" / f"{name}.jpg").write_bytes(jpeg(shot.image, day.commissioned.sensor.jpeg))
            for slot, told in day.truth_of(day.moment(t), shot.covered).items():
                rows.writerow([name, "day", 0, slot, told.state, round(told.covered, 2), round(t, 3), told.stock])
            if progress:
                progress(number + 1, count)
    about = {"format": "shelf-day/1", "seed": day.seed, "interval_s": interval_s, "frames": count}
    (folder / "day.json").write_text(json.dumps(about) + "\n")
