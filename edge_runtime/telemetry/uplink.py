"""The uplink: a thread that carries messages from the inference loop to the broker, and never makes the loop wait.

After an outage the newest retained state goes first, then what is new, then the backlog at a limited rate. Retained
state (info, status, shelf) is latest-only and said again at every connect, status first. Everything else goes through
the spool and is forgotten only when it was accepted: at least once, with ids by which a reader recognizes what came
twice. It is not a link: connecting is `fleet.link`'s business.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.courier import Courier, CourierSettings
from edge_runtime.telemetry.pace import Bucket
from edge_runtime.telemetry.publisher import Publisher
from edge_runtime.telemetry.retained import RetainedState
from edge_runtime.telemetry.spool import Clock, Entry, Grade, Spool, SpoolCounts

log = logging.getLogger(__name__)

POLL_S, SLOW_POLL_S = 0.01, 0.25
"""Receipts are asked for so often at first, and so rarely when nothing comes."""
IDLE_S = 1.0
COUNT_S = 1.0
SILENT_S = 30.0
"""A thread that has done no step for this long is told to hang: a step waits for nothing but the disk."""
RESTART_S, LAST_RESTART_S = 1.0, 60.0
"""Before a thread that ended is started again: from, and at most."""


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    courier: CourierSettings = field(default_factory=CourierSettings)
    retained_per_s: float = 20.0
    retained_burst: int = 32
    """Retained messages at once: a device has one for each camera and a few of its own."""
    inbox: int = 4_096
    """Messages between the inference loop and the spool, at most; the oldest are dropped and counted."""


@dataclass(frozen=True, slots=True)
class UplinkCounts:
    """What went up since the start, and what waits."""

    sent: int
    """Publishes given to the link, repeats included."""
    acknowledged: int
    """Entries of the spool that were accepted."""
    retained: int
    """Publishes of retained state that the broker has acknowledged, soon enough to be believed."""
    inbox_dropped: int
    spool: SpoolCounts
    events: int = 0
    """Events offered since the start: what a reader who missed nothing has seen."""
    restarts: int = 0
    """How often the thread ended and was started again."""


class Uplink:
    """Owns the spool from `start` to `stop`. `offer` and `retain` may be called from any thread and never block on I/O."""

    def __init__(
        self,
        publisher: Publisher,
        spool: Spool,
        settings: UplinkSettings | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._spool = spool
        self._settings = settings or UplinkSettings()
        self._clock = clock
        pace = Bucket(self._settings.retained_per_s, self._settings.retained_burst)
        self._retained = RetainedState(publisher, pace)
        self._courier = Courier(publisher, spool, self._settings.courier, clock)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._inbox: deque[Entry] = deque()
        self._inbox_dropped = self._inbox_noted = 0
        self._connects = self._connects_seen = 0
        self._online = False
        self._poll_s = POLL_S
        self._retained_sent = self._events = self._restarts = 0
        self._spool_counts = SpoolCounts()
        self._counted_s = float("-inf")
        self._stop_by_s: float | None = None
        self._thread: threading.Thread | None = None
        self._stepped_s = clock()
        self._restart_at_s = float("inf")
        self._ended_by = ""
        publisher.on_connect(self._connected)

    # Called by anyone

    def offer(self, entry: Entry) -> None:
        """Send this through the spool."""
        with self._lock:
            if len(self._inbox) >= self._settings.inbox:
                self._inbox.popleft()
                self._inbox_dropped += 1
            self._inbox.append(entry)
            self._events += entry.grade is Grade.EVENT
        self._wake.set()

    def retain(self, topic: str, payload: bytes, first: bool = False) -> None:
        """Make this the retained state of `topic`; `first` puts it at the head of what is said at a connect."""
        self._retained.set(topic, payload, first)
        self._wake.set()

    def counts(self) -> UplinkCounts:
        """The spool's part is at most a second old: asking it may wait for the disk, and the loop must not.

        What the inbox dropped is among the dropped, as `inbox_full`.
        """
        spool, unnoted = self._spool_counts, self._inbox_dropped - self._inbox_noted
        if unnoted:
            known = spool.dropped.get("inbox_full", 0)
            spool = replace(spool, dropped={**spool.dropped, "inbox_full": known + unnoted})
        return UplinkCounts(
            self._courier.sent + self._retained_sent,
            self._courier.acknowledged,
            self._retained.acknowledged,
            self._inbox_dropped,
            spool,
            self._events,
            self._restarts,
        )

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def age_s(self) -> float:
        """Since the thread's last step: a second or so when all is well."""
        return max(0.0, self._clock() - self._stepped_s)

    def watch(self) -> str:
        """What is wrong with the thread, in words; empty if it is well. Call it about once a second between `start` and
        `stop`: a thread that ended is started again, after ever longer pauses.
        """
        if self._thread is None or self._stop_by_s is not None:
            return ""
        if self._thread.is_alive():
            return f"the uplink hangs, it has done nothing for {SILENT_S:.0f} s" if self.age_s > SILENT_S else ""
        now_s = self._clock()
        if self._restart_at_s == float("inf"):
            self._restart_at_s = now_s + min(LAST_RESTART_S, RESTART_S * 2**self._restarts)
            log.error("the uplink has ended (%s); it is started again", self._ended_by)
        if now_s >= self._restart_at_s:
            self._restarts += 1
            self._restart_at_s = float("inf")
            self.start()
        return f"the uplink has ended ({self._ended_by})"

    def start(self) -> None:
        self._stepped_s = self._clock()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    def stop(self, flush_s: float = 2.0) -> None:
        """Send what waits for up to `flush_s` seconds, keep the rest in the spool, close it."""
        self._stop_by_s = self._clock() + flush_s
        self._wake.set()
        if self._thread is not None:
            self._thread.join(flush_s + 5.0)
            if self._thread.is_alive():
                log.warning("the spool's disk does not answer; what waits there is sent after the next start")
                return
        self._absorb()
        self._courier.give_back()
        self._spool_counts = self._spool.counts()
        self._spool.close()

    # The thread

    def _connected(self) -> None:
        with self._lock:
            self._connects += 1
        self._wake.set()

    def _run(self) -> None:
        ended_by = "by itself"
        try:
            while not self._over():
                pause_s = self.step()
                self._wake.wait(pause_s if self._stop_by_s is None else min(pause_s, POLL_S))
                self._wake.clear()
            ended_by = ""
        finally:
            fault = sys.exception()
            self._ended_by = f"{type(fault).__name__}: {fault}" if fault else ended_by

    def _over(self) -> bool:
        return self._stop_by_s is not None and (self._clock() >= self._stop_by_s or self._idle())

    def _idle(self) -> bool:
        with self._lock:
            if self._inbox:
                return False
        return not (self._publisher.connected and (self._retained.waiting or not self._courier.idle))

    def step(self) -> float:
        """Do what can be done now without waiting; the seconds after which to look again."""
        self._stepped_s = now_s = self._clock()
        online = self._publisher.connected
        with self._lock:
            fresh, self._connects_seen = self._connects > self._connects_seen, self._connects
        if self._online and (fresh or not online):
            self._courier.give_back()
        if online and (fresh or not self._online):  # before the inbox is emptied: what is in it is new
            self._courier.begin()
            self._retained.begin()
        self._online = online
        self._absorb()
        self._refresh_counts()
        if not online:
            return IDLE_S
        said = self._retained.step(now_s)
        self._retained_sent += said
        done = said + self._courier.step(others_first=self._retained.unsaid(now_s))
        return self._pause_s(done)

    def _pause_s(self, done: int) -> float:
        """Short while receipts come, longer while none do."""
        if self._courier.in_flight or self._retained.waiting:
            self._poll_s = POLL_S if done else min(SLOW_POLL_S, self._poll_s * 1.5)
            return max(POLL_S, self._courier.wait_s(self._poll_s))
        self._poll_s = POLL_S
        return max(POLL_S, self._courier.wait_s(IDLE_S))

    def _refresh_counts(self) -> None:
        if self._clock() - self._counted_s < COUNT_S:
            return
        self._counted_s = self._clock()
        dropped = self._inbox_dropped
        try:
            if dropped > self._inbox_noted:
                self._spool.note({"inbox_full": dropped - self._inbox_noted})
            self._spool_counts = self._spool.counts()
            self._inbox_noted = dropped
        except TryAgain as fault:
            log.debug("%s", fault)

    def _absorb(self) -> None:
        """Inbox -> spool, in one durable step."""
        with self._lock:
            entries = tuple(self._inbox)
        if not entries:
            return
        try:
            self._spool.add(entries)
        except TryAgain as fault:
            log.warning("%s; messages wait in the inbox", fault)
            return
        with self._lock:
            taken = {id(entry) for entry in entries}
            self._inbox = deque(entry for entry in self._inbox if id(entry) not in taken)
        self._courier.look()
