"""A spool that goes on when its disk does not: the file where it works, memory where it fails, and back again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.spool import Entry, MemorySpool, Spool, SpoolCounts, SpoolLimits

log = logging.getLogger(__name__)

RETRY_S = 30.0


class FallbackSpool:
    """Obeys the laws of `Spool` and never raises TryAgain.

    `open_disk` is called at the first use (in the thread that uses it) and, after a fault, again every RETRY_S.
    What was kept in memory meanwhile is sent from there, after what the disk holds.
    """

    def __init__(
        self,
        open_disk: Callable[[], Spool],
        memory_limits: SpoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_disk = open_disk
        self._clock = clock
        self._disk: Spool | None = None
        self._memory = MemorySpool(memory_limits, clock, degraded="")
        self._fault = ""
        self._retry_at_s = float("-inf")
        self._batch_of: Spool | None = None
        self._unsaid: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        """What the disk failed to forget: said to it before anything else is asked of it."""
        self._counted = SpoolCounts()
        self._lock = threading.RLock()

    def add(self, entries: Iterable[Entry]) -> int:
        wanted = tuple(entries)
        with self._lock:
            disk = self._ready_disk()
            if disk is not None:
                try:
                    return disk.add(wanted)
                except TryAgain as fault:
                    self._lose(fault)
            return self._memory.add(wanted)

    def begin(self, limit: int) -> tuple[Entry, ...]:
        with self._lock:
            if self._batch_of is not None:
                raise RuntimeError("begin() while a batch is out")
            disk = self._ready_disk()
            if disk is not None and self._unsaid is None:
                try:
                    batch = disk.begin(limit)
                    if batch or not self._memory_waits():
                        self._batch_of = disk
                        return batch
                    self._unsaid = ((), ())
                    disk.end(())
                    self._unsaid = None
                except TryAgain as fault:
                    self._lose(fault)
            self._batch_of = self._memory
            return self._memory.begin(limit)

    def end(self, accepted: Iterable[str], rejected: Iterable[str] = ()) -> None:
        done, refused = tuple(accepted), tuple(rejected)
        with self._lock:
            spool = self._batch_of
            if spool is None:
                raise RuntimeError("end() without begin()")
            try:
                spool.end(done, refused)
            except TryAgain as fault:
                self._unsaid = (done, refused)
                self._lose(fault)
            self._batch_of = None

    def counts(self) -> SpoolCounts:
        """Of both places together; the last known figures of a disk that fails."""
        with self._lock:
            disk = self._ready_disk()
            if disk is not None:
                try:
                    self._counted = disk.counts()
                except TryAgain as fault:
                    self._lose(fault)
            here, there = self._memory.counts(), self._counted
            dropped = {
                reason: here.dropped.get(reason, 0) + there.dropped.get(reason, 0)
                for reason in sorted({*here.dropped, *there.dropped})
            }
            return replace(
                there,
                events=here.events + there.events,
                telemetry=here.telemetry + there.telemetry,
                bytes=here.bytes + there.bytes,
                accepted=here.accepted + there.accepted,
                dropped=dropped,
                degraded=self._fault,
            )

    def close(self) -> None:
        with self._lock:
            if self._disk is not None:
                self._disk.close()
            self._memory.close()

    def _memory_waits(self) -> bool:
        counts = self._memory.counts()
        return bool(counts.events or counts.telemetry)

    def _ready_disk(self) -> Spool | None:
        """The disk's spool, if it is well or it is time to try it again."""
        if self._clock() < self._retry_at_s:
            return None
        try:
            if self._disk is None:
                self._disk = self._open_disk()
            if self._unsaid is not None:
                self._disk.end(*self._unsaid)
                self._unsaid = None
        except TryAgain as fault:
            self._lose(fault)
            return None
        if self._fault:
            log.warning("the spool is back on the disk")
        self._fault, self._retry_at_s = "", float("-inf")
        return self._disk

    def _lose(self, fault: TryAgain) -> None:
        if not self._fault:
            log.warning("%s; messages are kept in memory meanwhile", fault)
        self._fault = fault.found
        self._retry_at_s = self._clock() + RETRY_S
