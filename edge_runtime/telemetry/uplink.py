"""The uplink: a thread that carries messages from the inference loop to the broker, and never makes the loop wait.

Retained state (info, status, shelf) is latest-only and said again at every connect, status first. Everything else goes
through the spool, at a limited rate, and is forgotten only when the broker has acknowledged it: at least once, with
ids by which a reader recognizes what came twice. It is not a link: connecting is `fleet.link`'s business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.publisher import Delivery, Publisher, Receipt
from edge_runtime.telemetry.spool import Entry, Grade, Spool, SpoolCounts

log = logging.getLogger(__name__)

POLL_S = 0.02
IDLE_S = 1.0
COUNT_S = 1.0


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    batch: int = 32
    """Messages in flight at once."""
    per_s: float = 50.0
    """Messages a second from the spool, at most: a backlog must not drown the broker when a region comes back."""
    ack_timeout_s: float = 30.0
    inbox: int = 4_096
    """Messages between the inference loop and the spool, at most; the oldest are dropped and counted."""


@dataclass(frozen=True, slots=True)
class UplinkCounts:
    """What went up since the start, and what waits."""

    sent: int
    """Publishes given to the link, repeats included."""
    acknowledged: int
    """Entries of the spool that the broker has acknowledged."""
    retained: int
    """Publishes of retained state that the broker has acknowledged."""
    inbox_dropped: int
    spool: SpoolCounts
    events: int = 0
    """Events offered since the start: what a reader who missed nothing has seen."""


class Uplink:
    """Owns the spool from `start` to `stop`. `offer` and `retain` may be called from any thread and never block on I/O."""

    def __init__(
        self,
        publisher: Publisher,
        spool: Spool,
        settings: UplinkSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._spool = spool
        self._settings = settings or UplinkSettings()
        self._clock = clock
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._inbox: deque[Entry] = deque()
        self._inbox_dropped = 0
        self._retained: dict[str, bytes] = {}
        self._unsaid: dict[str, None] = {}
        """Retained topics whose newest payload the broker does not have, in the order in which to say them."""
        self._saying: dict[str, Receipt] = {}
        self._batch: dict[str, Receipt] | None = None
        self._batch_began_s = 0.0
        self._spool_may_hold = True
        self._tokens = float(self._settings.batch)
        self._refilled_s = clock()
        self._sent = self._acknowledged = self._retained_said = self._events = 0
        self._spool_counts = SpoolCounts()
        self._counted_s = float("-inf")
        self._stop_by_s: float | None = None
        self._thread: threading.Thread | None = None
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
        with self._lock:
            known = topic in self._retained
            self._retained[topic] = payload
            if first and not known:
                self._retained = {topic: payload} | self._retained
            self._unsaid[topic] = None
        self._wake.set()

    def counts(self) -> UplinkCounts:
        """The spool's part is at most a second old: asking it may wait for the disk, and the loop must not.

        What the inbox dropped is among the dropped, as `inbox_full`.
        """
        spool = self._spool_counts
        if self._inbox_dropped:
            spool = replace(spool, dropped={**spool.dropped, "inbox_full": self._inbox_dropped})
        return UplinkCounts(
            self._sent, self._acknowledged, self._retained_said, self._inbox_dropped, spool, self._events
        )

    def start(self) -> None:
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
        self._close_batch()
        self._spool_counts = self._spool.counts()
        self._spool.close()

    # The thread

    def _connected(self) -> None:
        with self._lock:
            self._unsaid = dict.fromkeys(self._retained)
            self._spool_may_hold = True
        self._wake.set()

    def _run(self) -> None:
        while self._stop_by_s is None or (self._clock() < self._stop_by_s and not self._idle()):
            self._wake.wait(self.step())
            self._wake.clear()

    def _idle(self) -> bool:
        with self._lock:
            quiet = not (self._inbox or self._saying or (self._unsaid and self._publisher.connected))
        return quiet and self._batch is None and not (self._spool_may_hold and self._publisher.connected)

    def step(self) -> float:
        """Do what can be done now without waiting; the seconds after which to look again."""
        self._absorb()
        self._refresh_counts()
        if not self._publisher.connected:
            self._close_batch()
            return IDLE_S
        self._say_retained()
        self._send_batch()
        busy = self._saying or self._batch is not None or self._spool_may_hold
        return POLL_S if busy else IDLE_S

    def _refresh_counts(self) -> None:
        if self._clock() - self._counted_s < COUNT_S:
            return
        self._counted_s = self._clock()
        try:
            self._spool_counts = self._spool.counts()
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
            self._spool_may_hold = True

    def _say_retained(self) -> None:
        with self._lock:
            for topic, receipt in tuple(self._saying.items()):
                outcome = receipt.delivery()
                if outcome is Delivery.PENDING:
                    continue
                del self._saying[topic]
                self._retained_said += outcome is Delivery.ACKNOWLEDGED
                if outcome is Delivery.FAILED:
                    self._unsaid[topic] = None
            ready = [(topic, self._retained[topic]) for topic in self._unsaid if topic not in self._saying]
            for topic, _ in ready:
                del self._unsaid[topic]
        for topic, payload in ready:
            self._saying[topic] = self._publisher.publish(topic, payload, 1, True)
            self._sent += 1

    def _send_batch(self) -> None:
        if self._batch is not None:
            outcomes = {receipt.delivery() for receipt in self._batch.values()}
            late = self._clock() - self._batch_began_s > self._settings.ack_timeout_s
            if Delivery.PENDING in outcomes and not late:
                return
            self._close_batch()
        room = self._room()
        if self._batch is not None or not self._spool_may_hold or room < 1:
            return
        with self._lock:
            self._spool_may_hold = False
        try:
            entries = self._spool.begin(room)
        except TryAgain as fault:
            log.warning("%s", fault)
            return
        self._batch = {entry.id: self._publisher.publish(entry.topic, entry.payload, 1, False) for entry in entries}
        self._batch_began_s = self._clock()
        self._tokens -= len(entries)
        self._sent += len(entries)
        if not entries:
            self._close_batch()
        else:
            self._spool_may_hold = True

    def _room(self) -> int:
        now = self._clock()
        refill = max(0.0, now - self._refilled_s) * self._settings.per_s
        self._tokens = min(float(self._settings.batch), self._tokens + refill)
        self._refilled_s = now
        return int(self._tokens)

    def _close_batch(self) -> None:
        if self._batch is None:
            return
        outcomes = {key: receipt.delivery() for key, receipt in self._batch.items()}
        accepted = [key for key, outcome in outcomes.items() if outcome is Delivery.ACKNOWLEDGED]
        rejected = [key for key, outcome in outcomes.items() if outcome is Delivery.REFUSED]
        try:
            self._spool.end(accepted, rejected)
        except TryAgain as fault:
            log.warning("%s", fault)
            return
        self._acknowledged += len(accepted)
        self._batch = None
