"""What the spool and the uplink cost: `python -m benchmarks.spool [--json] [--folder DIR]`.

Counts of transactions, syncs and bytes are exact (they come from the process's own account and from SQLite's); seconds
are of this machine and its disk. `--folder` names a folder on the disk that is meant: /tmp may be memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.spool_outage import Broker, Clock
from benchmarks.faults.tracer import CAN_FAIL_CALLS, traced
from edge_runtime.telemetry.courier import CourierSettings
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.uplink import Uplink, UplinkSettings

EVENT_BYTES, FIGURE_BYTES = 350, 1_000
FIGURES_S = 120.0
EVENTS_AN_HOUR = 150 / 24
HOURS = 24
FAST = CourierSettings(live_per_s=1e6, backlog_events_per_s=1e6, backlog_telemetry_per_s=1e6, window=256)


@dataclass(frozen=True)
class Cost:
    """Of one kind of use."""

    what: str
    messages: int
    seconds: float
    per_s: float
    synced: float | None
    """fsync and fdatasync calls a message; None where calls can not be watched."""
    written_bytes: float | None
    """Bytes that were given to write calls, a message."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spool", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    args = parser.parse_args(arguments)
    for row in rows(args.folder):
        print(json.dumps(row if isinstance(row, dict) else asdict(row)) if args.json else _line(row), flush=True)
    return 0


def rows(folder: Path | None = None) -> Iterator[Cost | dict[str, float | str]]:
    yield _cost("events, one by one", folder, 200, lambda spool: _add(spool, 200, 1))
    yield _cost("events, 32 in a step", folder, 3_200, lambda spool: _add(spool, 3_200, 32))
    yield _cost("figures, one by one", folder, 200, lambda spool: _add(spool, 200, 1, Grade.TELEMETRY))
    yield _cost("events through the uplink, as fast as it goes", folder, 3_200, lambda spool: _through(spool, 3_200))
    yield _a_day(folder)


def _line(row: Cost | dict[str, float | str]) -> str:
    if isinstance(row, dict):
        return ", ".join(f"{key} {value}" for key, value in row.items())
    account = "" if row.synced is None else f", {row.synced:.3f} syncs and {row.written_bytes:.0f} bytes written each"
    return f"{row.what}: {row.messages} in {row.seconds:.2f} s, {row.per_s:.0f} a second{account}"


def _cost(what: str, folder: Path | None, n: int, act: Callable[[SqliteSpool], None]) -> Cost:
    with _spool_path(folder) as path:
        spool = SqliteSpool(path)
        began_s = time.perf_counter()
        act(spool)
        seconds = time.perf_counter() - began_s
        spool.close()
    syncs, written = _calls(folder, act)
    return Cost(what, n, round(seconds, 3), round(n / seconds, 1), _each(syncs, n), _each(written, n))


def _each(total: int | None, n: int) -> float | None:
    return None if total is None else round(total / n, 4)


def _calls(folder: Path | None, act: Callable[[SqliteSpool], None]) -> tuple[int | None, int | None]:
    """(syncs, bytes given to write calls) of the same use in a process whose calls are watched."""
    if not CAN_FAIL_CALLS:
        return None, None
    syncs = written = 0

    def watch(process: int, name: str, arguments: tuple[int, ...], result: int) -> None:
        nonlocal syncs, written
        syncs += name in ("fsync", "fdatasync")
        written += max(0, result) if name == "pwrite64" else 0

    with _spool_path(folder) as path:
        SqliteSpool(path).close()

        def child() -> int:
            spool = SqliteSpool(path)
            act(spool)
            spool.close()
            return 0

        ending = traced(child, watch=watch)
    return (syncs, written) if not ending.status else (None, None)


def _add(spool: SqliteSpool, n: int, together: int, grade: Grade = Grade.EVENT) -> None:
    size = EVENT_BYTES if grade is Grade.EVENT else FIGURE_BYTES
    for first in range(0, n, together):
        spool.add(
            Entry(f"{os.getpid()}-{k:026d}", grade, _topic(grade), b"x" * size) for k in range(first, first + together)
        )


def _through(spool: SqliteSpool, n: int) -> None:
    """In bursts of 32, as a shelf that is being filled makes them; the broker takes all at once."""
    clock = Clock()
    broker = Broker(clock, connected=True)
    uplink = Uplink(broker, spool, UplinkSettings(FAST), clock)
    for first in range(0, n, 32):
        for k in range(first, first + 32):
            uplink.offer(Entry(f"{k:032d}", Grade.EVENT, _topic(Grade.EVENT), b"x" * EVENT_BYTES))
        while uplink.step() < 1.0:
            clock.now_s += 0.3
        clock.now_s += 1.0
    if spool.counts().events:
        raise RuntimeError(f"{spool.counts().events} events are left")


def _a_day(folder: Path | None) -> dict[str, float | str]:
    """Syncs and bytes of a day of one camera at the default rates, connected all the time."""

    def day(spool: SqliteSpool) -> None:
        clock = Clock()
        uplink = Uplink(Broker(clock, connected=True), spool, clock=clock)
        due = 0.0
        for n in range(int(HOURS * 3600 / FIGURES_S)):
            clock.now_s += FIGURES_S
            uplink.offer(Entry(f"f{n:031d}", Grade.TELEMETRY, _topic(Grade.TELEMETRY), b"x" * FIGURE_BYTES))
            due += EVENTS_AN_HOUR * FIGURES_S / 3600
            if due >= 1:
                due -= 1
                uplink.offer(Entry(f"e{n:031d}", Grade.EVENT, _topic(Grade.EVENT), b"x" * EVENT_BYTES))
            for _ in range(3):
                uplink.step()
                clock.now_s += 0.3

    syncs, written = _calls(folder, day)
    if syncs is None or written is None:
        return {"what": "a day of one camera: not measured, calls can not be watched here"}
    return {
        "what": "a day of one camera at the default rates",
        "syncs_per_hour": round(syncs / HOURS, 2),
        "written_mb_per_day": round(written / 1e6, 2),
    }


def _topic(grade: Grade) -> str:
    return f"edge/v1/store-0815/box-0001/{'event/slot' if grade is Grade.EVENT else 'telemetry'}"


@contextmanager
def _spool_path(folder: Path | None) -> Iterator[Path]:
    with TemporaryDirectory(prefix="spool-", dir=folder) as place:
        yield Path(place, "spool.db")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
