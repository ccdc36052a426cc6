"""The truth about a recorded day: what stood in every slot, capture by capture, and which changes a camera must tell.

A change counts as an event of the truth if what stands in the slot afterwards stays there for at least
`LASTING` captures in which the slot can be seen (covered by less than half). What comes and goes faster is neither
asked for nor held against whoever tells it.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.records import ANSWERS, State

LASTING = 4
"""Visible captures; the number within which 95 % of all changes are to be told."""
_NEEDED = ("frame", "slot", "state")
_MEND = "Give the truth.csv that the recording was written with (`python -m edge_runtime.simulator day`)"


@dataclass(frozen=True, slots=True)
class Seen:
    """One slot in one capture."""

    stock: State
    """What stands there, hidden or not."""
    visible: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What stands in a slot during captures `first` to before `end`, after something else stood there."""

    slot: str
    state: State
    first: int
    end: int


class DayTruth:
    """Rows of truth by time."""

    def __init__(self, times_s: Sequence[float], rows: Sequence[Mapping[str, Seen]]) -> None:
        self._times = list(times_s)
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def at(self, t: float, within_s: float) -> Mapping[str, Seen] | None:
        """The row nearest to `t` seconds after the beginning, if it is within `within_s`."""
        place = bisect_left(self._times, t)
        near = [k for k in (place - 1, place) if 0 <= k < len(self._times)]
        best = min(near, key=lambda k: abs(self._times[k] - t), default=None)
        return self._rows[best] if best is not None and abs(self._times[best] - t) <= within_s else None


def read_truth(path: Path, step_s: float) -> DayTruth:
    """truth.csv of a recording; without a column `t` its frames, in the order of their names, are `step_s` apart.

    Without a column `stock` a hidden slot holds what it held when it was last seen. Raises Unavailable, or BadConfig
    naming the line that is wrong.
    """
    try:
        with path.open(newline="") as sheet:
            lines = [_checked(path, number, line) for number, line in enumerate(csv.DictReader(sheet), 2)]
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", _MEND) from None
    except (csv.Error, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path} is not a table: {fault}", _MEND) from None
    if not lines:
        raise BadConfig(f"{path} has no rows", _MEND)
    frames: dict[str, dict[str, dict[str, str]]] = {}
    for line in lines:
        frames.setdefault(line["frame"] or "", {})[line["slot"] or ""] = line
    names = sorted(frames)
    times = [float(next(iter(frames[name].values())).get("t") or k * step_s) for k, name in enumerate(names)]
    return DayTruth(times, list(_seen(frames[name] for name in names)))


def _checked(path: Path, number: int, line: dict[str, str]) -> dict[str, str]:
    """A row of the table, if its columns are there and hold states and a time."""
    missing = [name for name in _NEEDED if line.get(name) is None]
    if missing:
        raise BadConfig(f"{path}:{number}: there is no {', '.join(missing)}", _MEND)
    for name, known in (("state", [*State]), ("stock", [*ANSWERS])):
        if (found := line.get(name) or line["state"]) not in known and (name == "state" or line.get(name)):
            raise BadConfig(f"{path}:{number}: {name} is {found!r}, one of {', '.join(known)} was expected", _MEND)
    try:
        if not isfinite(float(line.get("t") or 0.0)):
            raise ValueError
    except ValueError:
        raise BadConfig(f"{path}:{number}: t is {line['t']!r}, seconds were expected", _MEND) from None
    return line


def _seen(frames: Iterator[dict[str, dict[str, str]]]) -> Iterator[Mapping[str, Seen]]:
    last: dict[str, State] = {}
    for frame in frames:
        row = {}
        for slot, line in frame.items():
            state = State(line["state"])
            stock = State(line.get("stock") or (state if state in ANSWERS else last.get(slot, State.STOCKED)))
            last[slot] = stock
            row[slot] = Seen(stock, state in ANSWERS)
        yield row


def standing(slot: str, seen: Sequence[Seen], lasting: int = LASTING) -> list[Change]:
    """What stood in the slot for long enough, in order; all but the first are the events of the truth."""
    joined: list[Change] = []
    for run in _runs(slot, seen):
        if sum(seen[k].visible for k in range(run.first, run.end)) < lasting:
            continue
        if joined and joined[-1].state is run.state:
            joined[-1] = Change(slot, run.state, joined[-1].first, run.end)
        else:
            joined.append(run)
    return joined


def _runs(slot: str, seen: Sequence[Seen]) -> Iterator[Change]:
    first = 0
    for k in range(1, len(seen) + 1):
        if k == len(seen) or seen[k].stock is not seen[first].stock:
            yield Change(slot, seen[first].stock, first, k)
            first = k
