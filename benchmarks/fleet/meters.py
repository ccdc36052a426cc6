"""What a run costs: processor time and memory by kind of process, and what the broker's nodes say of themselves."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_S = 1.0


@dataclass
class Reading:
    """Of one kind of process: CPU seconds since the meter began, memory now and at its highest."""

    cpu_s: float = 0.0
    rss_mb: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Meter:
    """Samples processes by kind; those that die keep what they have used. `with Meter(kinds) as meter`."""

    kinds: Mapping[str, Callable[[], Iterable[int]]]
    readings: dict[str, Reading] = field(default_factory=dict)
    _used: dict[int, float] = field(default_factory=dict)
    _before: dict[int, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Meter:
        self.sample()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.sample()

    def sample(self) -> None:
        for kind, pids in self.kinds.items():
            reading = self.readings.setdefault(kind, Reading())
            rss = 0
            for pid in tuple(pids()):
                found = _usage(pid)
                if found is not None:
                    cpu_s, pages = found
                    began_s = self._before.setdefault(pid, cpu_s)
                    reading.cpu_s += cpu_s - began_s - self._used.get(pid, 0.0)
                    self._used[pid] = cpu_s - began_s
                    rss += pages * PAGE
            reading.rss_mb = rss / 1e6
            reading.peak_mb = max(reading.peak_mb, reading.rss_mb)

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.sample()


def _usage(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident pages; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return (int(stat[11]) + int(stat[12])) / TICKS_PER_S, pages


def ask_node(port: int, what: str) -> dict[str, Any]:
    """`/varz`, `/jsz` ... of a node; empty if it does not answer."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        asked.request("GET", f"/{what}")
        found: dict[str, Any] = json.loads(asked.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        asked.close()
    return found
