"""Carries entries from the spool to the broker: what is new first, then the backlog, each at its pace, a window in flight.

Every entry is accepted, refused or kept for itself; what ended is told the spool in groups, for that is a transaction.
A topic on which the broker does not take records while the connection stands is in doubt: one record at a time is tried
there, ever more rarely, and the others go on without it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.pace import Bucket
from edge_runtime.telemetry.publisher import Delivery, Publisher, Receipt
from edge_runtime.telemetry.spool import Clock, Entry, Grade, Lane, Spool

log = logging.getLogger(__name__)

DOUBT_S, MOST_DOUBT_S = 2.0, 15.0
"""Between two tries on a topic in doubt: from, and at most."""
TOGETHER = 4
"""Records of a backlog that are taken out of the spool at once, at least: a transaction each is too dear."""
RETRY_S = 1.0
"""After the spool could not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """How much goes at once, and how fast."""

    window: int = 32
    """Records in flight at once."""
    reserve: int = 8
    """Of the window: what the backlog never takes, so that what is new does not wait for it."""
    live_per_s: float = 50.0
    """New records a second, at most."""
    backlog_events_per_s: float = 20.0
    backlog_telemetry_per_s: float = 10.0
    """A backlog must not drown the broker when a region comes back."""
    ack_timeout_s: float = 30.0
    group: int = 16
    """Records that ended, told the spool in one step ..."""
    group_s: float = 0.25
    """... or those that ended in this time."""


@dataclass(slots=True)
class _Stream:
    """One lane of one grade."""

    lane: Lane
    grade: Grade
    pace: Bucket
    may_hold: bool = True


@dataclass(slots=True)
class _Flight:
    entry: Entry
    receipt: Receipt
    sent_s: float


@dataclass(slots=True)
class _Doubt:
    """A topic on which the broker does not take records."""

    try_at_s: float
    pause_s: float = DOUBT_S
    open: bool = False
    """One record may be tried."""
    trying: bool = False
    """It is in flight."""


@dataclass(slots=True)
class _Ended:
    """Not told the spool yet."""

    since_s: float = 0.0
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.accepted) + len(self.refused) + len(self.kept)


class Courier:
    """Belongs to one thread, the uplink's."""

    def __init__(self, publisher: Publisher, spool: Spool, settings: CourierSettings, clock: Clock) -> None:
        self._publisher, self._spool = publisher, spool
        self._settings, self._clock = settings, clock
        live = Bucket(settings.live_per_s, settings.window)
        self._streams = (
            _Stream(Lane.LIVE, Grade.EVENT, live),
            _Stream(Lane.LIVE, Grade.TELEMETRY, live),
            _Stream(Lane.BACKLOG, Grade.EVENT, Bucket(settings.backlog_events_per_s, settings.window)),
            _Stream(Lane.BACKLOG, Grade.TELEMETRY, Bucket(settings.backlog_telemetry_per_s, settings.window)),
        )
        self._flights: dict[str, _Flight] = {}
        self._ended = _Ended()
        self._doubts: dict[str, _Doubt] = {}
        self._mark_due = True
        self._retry_at_s = float("-inf")
        self.sent = self.acknowledged = 0

    @property
    def idle(self) -> bool:
        """Nothing in flight, nothing to tell the spool, and nothing in it that could go."""
        return not (self._flights or len(self._ended) or any(stream.may_hold for stream in self._streams))

    @property
    def in_flight(self) -> bool:
        return bool(self._flights or len(self._ended))

    @property
    def doubted(self) -> tuple[str, ...]:
        """Topics on which the broker takes nothing."""
        return tuple(sorted(self._doubts))

    def begin(self) -> None:
        """A new connection: what waits in the spool now is backlog."""
        self._doubts.clear()
        self._mark_due = True
        self.look()
        try:
            self._mark()
        except TryAgain as fault:
            self._put_off(fault)

    def look(self) -> None:
        """There may be something new in the spool."""
        for stream in self._streams:
            stream.may_hold = True

    def give_back(self) -> None:
        """The connection is gone, or the thread stops: what is in flight and has not ended is kept."""
        self._settle(leaving=True)
        self._tell()

    def step(self, others_first: bool) -> int:
        """Do what can be done now; how much was done. `others_first`: the backlog waits."""
        ended = self._settle()
        now_s = self._clock()
        due = len(self._ended) >= self._settings.group or now_s - self._ended.since_s >= self._settings.group_s
        if len(self._ended) and (due or not self._flights) and not self._tell():
            return ended
        if now_s < self._retry_at_s:
            return ended
        try:
            return ended + self._send(others_first)
        except TryAgain as fault:
            self._put_off(fault)
            return ended

    def wait_s(self, most_s: float) -> float:
        """Until there may be something to do, as far as the paces know; `most_s` at most."""
        now_s = self._clock()
        waits = [doubt.try_at_s - now_s for doubt in self._doubts.values() if not (doubt.open or doubt.trying)]
        stream = next((stream for stream in self._streams if stream.may_hold), None)
        if stream is not None:
            waits.append(stream.pace.wait_s(now_s, TOGETHER if stream.lane is Lane.BACKLOG else 1))
        return max(0.0, min([most_s, *waits]))

    def _send(self, others_first: bool) -> int:
        self._mark()
        before = self.sent
        for stream in self._streams:
            behind = stream.lane is Lane.BACKLOG
            if behind and (others_first or any(s.may_hold and s.lane is Lane.LIVE for s in self._streams)):
                break
            self._send_some(stream, self._settings.reserve if behind else 0)
            if behind and stream.may_hold:
                break  # figures wait until no event of the backlog is left
        return self.sent - before

    def _mark(self) -> None:
        if self._mark_due:
            self._spool.mark()
            self._mark_due = False

    def _send_some(self, stream: _Stream, reserve: int) -> None:
        now_s = self._clock()
        self._wake_doubts(now_s)
        room = min(self._settings.window - reserve - len(self._flights), stream.pace.room(now_s))
        if not stream.may_hold or room < 1:
            return
        held_up = [topic for topic, doubt in self._doubts.items() if not doubt.open]
        entries = self._spool.begin(room, stream.grade, stream.lane, held_up)
        stream.may_hold = len(entries) == room
        for entry in entries:
            if self._may_go(entry.topic):
                receipt = self._publisher.publish(entry.topic, entry.payload, 1, False)
                self._flights[entry.id] = _Flight(entry, receipt, now_s)
                stream.pace.take(1, now_s)
                self.sent += 1
            else:
                self._end(self._ended.kept, entry.id)

    def _wake_doubts(self, now_s: float) -> None:
        """A topic in doubt whose time has come may hold something in any stream."""
        for doubt in self._doubts.values():
            if not (doubt.open or doubt.trying) and now_s >= doubt.try_at_s:
                doubt.open = True
                self.look()

    def _may_go(self, topic: str) -> bool:
        doubt = self._doubts.get(topic)
        if doubt is None:
            return True
        may, doubt.open, doubt.trying = doubt.open, False, True
        return may

    def _settle(self, leaving: bool = False) -> int:
        """What has ended leaves the window; how many."""
        now_s, before = self._clock(), len(self._ended)
        for key, flight in tuple(self._flights.items()):
            outcome = flight.receipt.delivery()
            if outcome is Delivery.ACKNOWLEDGED:
                self._end(self._ended.accepted, key)
                self._doubts.pop(flight.entry.topic, None)
            elif outcome is Delivery.REFUSED:
                self._end(self._ended.refused, key)
            elif leaving:
                self._end(self._ended.kept, key)
            elif outcome is Delivery.FAILED or now_s - flight.sent_s > self._settings.ack_timeout_s:
                self._end(self._ended.kept, key)
                self._doubt(flight.entry.topic, now_s)
            else:
                continue
            del self._flights[key]
        return len(self._ended) - before

    def _end(self, where: list[str], key: str) -> None:
        if not len(self._ended):
            self._ended.since_s = self._clock()
        where.append(key)

    def _doubt(self, topic: str, now_s: float) -> None:
        before = self._doubts.get(topic)
        if before is not None and not before.trying:
            return  # one of those that went before there was a doubt
        pause_s = DOUBT_S if before is None else min(MOST_DOUBT_S, 2 * before.pause_s)
        self._doubts[topic] = _Doubt(now_s + pause_s, pause_s)

    def _tell(self) -> bool:
        """Tell the spool what ended; False if it could not hear it."""
        ended = self._ended
        if not len(ended):
            return True
        if self._clock() < self._retry_at_s:
            return False
        try:
            self._spool.end(ended.accepted, ended.refused, ended.kept)
        except TryAgain as fault:
            self._put_off(fault)
            return False
        self.acknowledged += len(ended.accepted)
        if ended.kept:
            self.look()
        self._ended = _Ended()
        return True

    def _put_off(self, fault: TryAgain) -> None:
        log.warning("%s", fault)
        self._retry_at_s = self._clock() + RETRY_S
