"""Retained state on its way to the broker: latest-only, said again at every connect, the first topics first."""

from __future__ import annotations

import threading
from collections import Counter

from edge_runtime.telemetry.pace import Bucket
from edge_runtime.telemetry.publisher import Delivery, Publisher, Receipt

LATE_S = 30.0
"""What the broker has not acknowledged by then it never will: a cluster whose leader dies forgets what it was about to store."""
SLOW_S = 4.5
"""An acknowledgement that took so long is no proof. A NATS cluster whose stream has no leader gives up storing after 5 s,
and acknowledges nevertheless (2.15)."""
DOUBTS = 3
"""So often in a row that is doubted; a line that is always so slow must do with what it has."""
RESAY_S = 5.0
"""What the broker did not take, while the connection stands, is said again after this long; what is doubted for the
n-th time after n times as long."""


class RetainedState:
    """`set` may be called from any thread; the rest belongs to the uplink's."""

    def __init__(self, publisher: Publisher, pace: Bucket) -> None:
        self._publisher = publisher
        self._pace = pace
        self._lock = threading.Lock()
        self._newest: dict[str, bytes] = {}
        self._unsaid: dict[str, float] = {}
        """Topic -> not before; topics whose newest payload the broker does not have, in the order in which to say them."""
        self._saying: dict[str, tuple[Receipt, float]] = {}
        """Topic -> receipt, and when it was said."""
        self._doubts: Counter[str] = Counter()
        """Topic -> acknowledgements in a row that came too late to be believed."""
        self.acknowledged = 0
        """Acknowledgements that were believed."""

    def set(self, topic: str, payload: bytes, first: bool) -> None:
        """Make this the state of `topic`; `first` puts it at the head of what is said at a connect."""
        with self._lock:
            known = topic in self._newest
            self._newest[topic] = payload
            if first and not known:
                self._newest = {topic: payload} | self._newest
            self._unsaid.setdefault(topic, float("-inf"))

    def begin(self) -> None:
        """A new connection: the broker may have nothing."""
        with self._lock:
            self._saying.clear()
            self._doubts.clear()
            self._unsaid = dict.fromkeys(self._newest, float("-inf"))

    @property
    def waiting(self) -> bool:
        """Whether something is not said yet, or not acknowledged."""
        return bool(self._unsaid or self._saying)

    def unsaid(self, now_s: float) -> bool:
        """Whether something could be said now."""
        with self._lock:
            return any(at_s <= now_s for topic, at_s in self._unsaid.items() if topic not in self._saying)

    def step(self, now_s: float) -> int:
        """Say what there is room for; how many were said."""
        with self._lock:
            for topic, (receipt, said_s) in tuple(self._saying.items()):
                self._settle(topic, receipt.delivery(), now_s, now_s - said_s)
            ready = [topic for topic, at_s in self._unsaid.items() if at_s <= now_s and topic not in self._saying]
            said = [(topic, self._newest[topic]) for topic in ready[: self._pace.room(now_s)]]
            for topic, _ in said:
                del self._unsaid[topic]
        for topic, payload in said:
            self._saying[topic] = (self._publisher.publish(topic, payload, 1, True), now_s)
        self._pace.take(len(said), now_s)
        return len(said)

    def _settle(self, topic: str, outcome: Delivery, now_s: float, took_s: float) -> None:
        if outcome is Delivery.PENDING and took_s < LATE_S:
            return
        del self._saying[topic]
        if outcome is Delivery.ACKNOWLEDGED and took_s >= SLOW_S and self._doubts[topic] < DOUBTS:
            self._doubts[topic] += 1
            self._unsaid.setdefault(topic, now_s + RESAY_S * self._doubts[topic])
            return
        self._doubts.pop(topic, None)
        self.acknowledged += outcome is Delivery.ACKNOWLEDGED
        if outcome in (Delivery.FAILED, Delivery.PENDING):
            self._unsaid.setdefault(topic, now_s + RESAY_S)
