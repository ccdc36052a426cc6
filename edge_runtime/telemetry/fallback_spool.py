"""A spool that goes on when its disk does not: the file where it works, memory where it fails, and back again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.spool import Clock, Entry, Grade, Lane, Spool, SpoolCounts, SpoolLimits, check_out

log = logging.getLogger(__name__)

RETRY_S = 30.0


@dataclass(slots=True)
class _Unsaid:
    """What the disk failed to hear: said to it before anything else is asked of it."""

    ends: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]] = field(default_factory=list)
    mark: bool = False


class FallbackSpool:
    """Obeys the laws of `Spool` and never raises TryAgain.

    `open_disk` is called at the first use (in the thread that uses it) and, after a fault, again every RETRY_S.
    What was kept in memory meanwhile goes to the disk when that is back, as backlog; what is out just then follows when
    its case is closed. An id that waits on a disk that fails, and is added again meanwhile, may come twice.
    """

    def __init__(
        self, open_disk: Callable[[], Spool], memory_limits: SpoolLimits | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._open_disk = open_disk
        self._clock = clock
        self._disk: Spool | None = None
        self._memory = MemorySpool(memory_limits, clock, degraded="")
        self._fault = ""
        self._retry_at_s = float("-inf")
        self._out: dict[str, Spool] = {}
        """Id -> where it is out of."""
        self._unsaid = _Unsaid()
        self._counted = SpoolCounts()
        self._in_memory = False
        """True while memory may hold something."""
        self._closed = False
        self._lock = threading.RLock()

    def add(self, entries: Iterable[Entry]) -> int:
        wanted = tuple(entries)
        with self._lock:
            fresh = tuple(entry for entry in wanted if entry.id not in self._out)
            known = len(wanted) - len(fresh)
            disk = self._ready_disk()
            if disk is not None:
                try:
                    return known + disk.add(fresh)
                except TryAgain as fault:
                    self._lose(fault)
            self._in_memory = True
            return known + self._memory.add(fresh)

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        with self._lock:
            for spool in self._ready_spools():
                try:
                    taken = spool.begin(limit, grade, lane, without)
                except TryAgain as fault:
                    self._lose(fault)
                    continue
                taken = self._not_out(spool, taken)
                if taken:
                    self._out |= {entry.id: spool for entry in taken}
                    return taken
            return ()

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        done, refused, back = tuple(accepted), tuple(rejected), tuple(kept)
        with self._lock:
            check_out(self._out, done, refused, back)
            for spool in {id(spool): spool for spool in self._out.values()}.values():
                mine = [tuple(key for key in keys if self._out[key] is spool) for keys in (done, refused, back)]
                if any(mine):
                    self._close_case(spool, (mine[0], mine[1], mine[2], why))
            for key in (*done, *refused, *back):
                del self._out[key]

    def mark(self) -> None:
        with self._lock:
            self._memory.mark()
            self._unsaid.mark = True
            self._ready_disk()

    def note(self, dropped: Mapping[str, int]) -> None:
        with self._lock:
            disk = self._ready_disk()
            if disk is not None:
                try:
                    disk.note(dropped)
                    return
                except TryAgain as fault:
                    self._lose(fault)
            self._memory.note(dropped)

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
            reasons = {*here.dropped, *there.dropped}
            return SpoolCounts(
                here.events + there.events,
                here.telemetry + there.telemetry,
                here.bytes + there.bytes,
                here.accepted + there.accepted,
                {reason: here.dropped.get(reason, 0) + there.dropped.get(reason, 0) for reason in sorted(reasons)},
                self._fault,
                there.salvaged,
                there.damage,
            )

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._memory.close()  # what is out goes along
            self._retry_at_s = float("-inf")  # the last chance
            self._ready_disk()
            if self._disk is not None:
                self._disk.close()
            lost = self._memory.counts()
            if lost.events + lost.telemetry:
                log.error(
                    "%d event(s) and %d figure(s) are lost: the disk does not take them", lost.events, lost.telemetry
                )
            self._out.clear()

    def _ready_spools(self) -> list[Spool]:
        """Where to look for entries: on the disk, then in memory."""
        disk = self._ready_disk()
        return [*((disk,) if disk is not None else ()), *((self._memory,) if self._in_memory else ())]

    def _close_case(self, spool: Spool, case: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]) -> None:
        try:
            spool.end(*case)
        except TryAgain as fault:
            self._unsaid.ends.append(case)
            self._lose(fault)

    def _not_out(self, spool: Spool, taken: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Without what is out of the other place under the same id: that one's case decides."""
        twice = tuple(entry.id for entry in taken if entry.id in self._out)
        if not twice:
            return taken
        spool.end((), (), twice)
        return tuple(entry for entry in taken if entry.id not in twice)

    def _ready_disk(self) -> Spool | None:
        """The disk's spool, if it is well or it is time to try it again."""
        if self._clock() < self._retry_at_s:
            return None
        try:
            if self._disk is None:
                self._disk = self._open_disk()
            if self._fault:
                self._disk.note({})  # a disk that is only read from seems well
            self._say_unsaid(self._disk)
            if self._in_memory:
                self._move(self._disk)
        except TryAgain as fault:
            self._lose(fault)
            return None
        if self._fault:
            log.warning("the spool is back on the disk")
        self._fault, self._retry_at_s = "", float("-inf")
        return self._disk

    def _say_unsaid(self, disk: Spool) -> None:
        while self._unsaid.ends:
            disk.end(*self._unsaid.ends[0])
            del self._unsaid.ends[0]
        if self._unsaid.mark:
            disk.mark()
            self._unsaid.mark = False

    def _move(self, disk: Spool) -> None:
        """Memory -> disk; as backlog, for it has waited."""
        moving = self._memory.waiting()
        if moving:
            disk.add(moving)
            disk.mark()
        dropped = self._memory.hand_over(entry.id for entry in moving)
        left = self._memory.counts()
        self._in_memory = bool(left.events or left.telemetry)
        if dropped:
            try:
                disk.note(dropped)
            except TryAgain:
                self._memory.note(dropped)
                raise

    def _lose(self, fault: TryAgain) -> None:
        if not self._fault:
            log.warning("%s; messages are kept in memory meanwhile", fault)
        self._fault = fault.found
        self._retry_at_s = self._clock() + RETRY_S
