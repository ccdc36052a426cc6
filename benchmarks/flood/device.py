"""The daemon as a device runs it, with a ledger of its frames: `python -m benchmarks.flood.device CONFIG LEDGER`.

A line for each frame: monotonic seconds, milliseconds of the whole step, and what the line to the broker has counted.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from edge_runtime.config import read_config
from edge_runtime.daemon.allocator import bound_allocator
from edge_runtime.daemon.compose import build_daemon
from edge_runtime.daemon.parts import Orders
from edge_runtime.daemon.run import Daemon
from edge_runtime.daemon.voice import BrokerVoice
from edge_runtime.fleet.valve import Valve


class Watched:
    """Stands where the daemon's `turn` was."""

    def __init__(self, daemon: Daemon, ledger: Path, valve: bool) -> None:
        self._daemon, self._turn = daemon, daemon.turn
        self._file = ledger.open("w", buffering=1)
        assert isinstance(daemon.voice, BrokerVoice)
        self._line = daemon.voice.line
        if not valve:
            self._line.mailbox.valve = None
        self._last = -1

    def turn(self) -> bool:
        worked = self._turn()
        station = next(iter(self._daemon.roster.stations.values()), None)
        outcome = station.outcome if station is not None else None
        if outcome is not None and outcome.frame.sequence != self._last:
            self._last = outcome.frame.sequence
            self._file.write(f"{time.monotonic():.4f} {outcome.ms['total']:.3f} {self._counted()}\n")
        return worked

    def _counted(self) -> str:
        """Refused or repeated, thrown away unread, carried out, floods, records on the way."""
        counts = self._line.clerk.counts() if self._line.clerk is not None else None
        valve: Valve | None = self._line.mailbox.valve
        uplink = self._line.uplink.counts()
        if counts is None:
            return "0 0 0 0 0"
        dropped = counts.limited + (valve.dropped if valve else 0)
        judged = counts.total - counts.limited
        return f"{judged} {dropped} {counts.taken} {valve.floods if valve else 0} {uplink.spool.events}"


def main() -> int:
    bound_allocator()
    orders = Orders()
    signal.signal(signal.SIGTERM, lambda *_: orders.stop())
    daemon = build_daemon(read_config(Path(sys.argv[1])))
    daemon.turn = Watched(daemon, Path(sys.argv[2]), "--no-valve" not in sys.argv).turn  # type: ignore[method-assign]
    daemon.run(orders)
    return 0


if __name__ == "__main__":
    sys.exit(main())
