"""Whether state and figures get through: now and then one topic is read back, in turn.

Durable records have receipts of their own (`receipts`); retained state and telemetry are many and cheap, so a sample
must do: the link subscribes to the topic for a moment, and what it last published there must come. What does not come
is published and read again. Rule-keeper: no thread, no network.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_runtime.fleet.carried import Carried
from edge_runtime.fleet.receipts import SAID_AFTER
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics

FIRST_S = 5.0
"""After a connect, and between two topics that were not read back yet."""
EVERY_S = 1_200.0
"""Between two read backs, of whichever topic."""
AGAIN_S = 60.0
"""Of a topic that did not come."""
WAIT_S = 10.0
SAY_S = 600.0
"""For so long a figure may not be published while it is waited for; then it is another topic's turn."""
MAX_TOPICS = 128
MAX_DENIED = 64


@dataclass(slots=True)
class _Sample:
    """One topic."""

    newest: bytes
    retained: bool
    digests: deque[bytes] = field(default_factory=lambda: deque(maxlen=4))
    """Of what was published last: a read back may be overtaken."""
    read_s: float = float("-inf")
    """When it was last read back, or tried."""
    proven: bool = False
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What the link is to do now."""

    subscribe: str = ""
    publish: bytes = b""
    """Say this again, retained, once subscribed."""
    unsubscribe: str = ""


class Told:
    """The receipt of a message that is not a durable record: what the broker refuses is not tried again at once."""

    def __init__(self, samples: Samples, topic: str, carried: Carried) -> None:
        self._samples, self._topic, self._carried = samples, topic, carried

    def delivery(self) -> Delivery:
        found = self._carried.delivery()
        if found in (Delivery.ACKNOWLEDGED, Delivery.REFUSED):
            self._samples.settled(self._topic, self._carried.denied)
        return found


class Samples:
    """Of one device. Every method may be called from any thread and returns at once."""

    def __init__(self, topics: Topics, clock: Callable[[], float], reads_back: bool = True) -> None:
        """`clock` in seconds, never set back."""
        self._topics, self._clock, self._reads_back = topics, clock, reads_back
        self._lock = threading.Lock()
        self._samples: dict[str, _Sample] = {}
        self._open = ""
        """The topic that is being read back."""
        self._open_s: float | None = None
        """Since when it should have come; None before it was published."""
        self._came = False
        self._next_s = float("-inf")
        self._denied: set[str] = set()

    def published(self, topic: str, payload: bytes, retained: bool) -> None:
        """This is about to be published."""
        own = topic.startswith(f"{self._topics.base}/") and (retained or topic == self._topics.telemetry)
        if not self._reads_back or not own:
            return
        with self._lock:
            if not payload:
                self._samples.pop(topic, None)
                return
            if topic not in self._samples and len(self._samples) >= MAX_TOPICS:
                return
            sample = self._samples.setdefault(topic, _Sample(payload, retained))
            sample.newest = payload
            sample.digests.append(_digest(payload))
            if topic == self._open and self._open_s is None:
                self._open_s = self._clock()

    def heard(self, topic: str, payload: bytes) -> bool:
        """A message came: True if the link subscribes to its topic for itself."""
        with self._lock:
            if topic == self._open and topic in self._samples:
                self._came |= _digest(payload) in self._samples[topic].digests
            return topic in self._samples or topic == self._topics.availability

    def settled(self, topic: str, denied: bool) -> None:
        """The broker answered a publish."""
        if denied and len(self._denied) < MAX_DENIED:
            self._denied.add(topic)
        elif not denied:
            self._denied.discard(topic)

    def connected(self) -> None:
        """A new connection: nothing is subscribed to, and what never got through is due soon."""
        with self._lock:
            self._open, self._came = "", False
            self._next_s = min(self._clock() + EVERY_S, max(self._next_s, self._clock() + FIRST_S))
            if any(not sample.proven for sample in self._samples.values()) or not self._samples:
                self._next_s = self._clock() + FIRST_S

    def step(self) -> Step | None:
        """What to do now, if anything."""
        with self._lock:
            now_s = self._clock()
            if self._open:
                return self._finish(now_s)
            if now_s < self._next_s or not self._samples:
                return None
            topic, sample = min(self._samples.items(), key=lambda item: (item[1].proven, item[1].read_s))
            self._open, self._came = topic, False
            self._open_s = now_s if sample.retained else None
            sample.read_s = now_s
            return Step(subscribe=topic, publish=sample.newest if sample.missing and sample.retained else b"")

    def problems(self) -> tuple[str, ...]:
        """What hinders state and figures, as sentences with the mend."""
        mend = f"Allow this device to write and read '{self._topics.base}/#'"
        with self._lock:
            missing = sorted(topic for topic, sample in self._samples.items() if sample.missing >= SAID_AFTER)
            denied = sorted(self._denied)
        told = [f"the broker does not let this device publish {topic!r}. {mend}" for topic in denied]
        told += [
            f"the broker acknowledges {topic!r}, but it can not be read back: its access list drops it, or does not "
            f"let this device read it. {mend}"
            for topic in missing
            if topic not in denied
        ]
        return tuple(told)

    def _finish(self, now_s: float) -> Step | None:
        """The read back under way: it came, it is overdue, or there is nothing to say yet."""
        topic, sample = self._open, self._samples.get(self._open)
        late = self._open_s is not None and now_s - self._open_s > WAIT_S
        unsaid = self._open_s is None and sample is not None and now_s - sample.read_s > SAY_S
        if sample is not None and not (self._came or late or unsaid):
            return None
        if sample is not None and not unsaid:
            sample.proven = self._came
            sample.missing = 0 if self._came else sample.missing + 1
            if self._came:
                self._denied.discard(topic)
        waiting = [each for each in self._samples.values() if not each.proven]
        fresh = any(each.missing < SAID_AFTER for each in waiting)
        self._next_s = now_s + (FIRST_S if fresh else AGAIN_S if waiting else EVERY_S)
        self._open = ""
        return Step(unsubscribe=topic)


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=8).digest()
