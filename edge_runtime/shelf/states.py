"""Slots over time: from single readings to the states that are published, and the events between them.

What is known about a slot is its last certain answer (`stocked`, `low`, `empty`). A shopper, a dark minute or a lost
camera hides it but does not erase it: the published state becomes `blocked` or `unknown` only after that has lasted,
and the known answer returns, with its old `since`, when the slot is seen again. At the start the first sure picture is
published at once, but only what two pictures agree on is known: until then a correction is no event. Event kinds: `slot` for a change
between answers, `sight` for one slot that went out of or came into sight, `camera` for a whole view that did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edge_runtime.manifest import Thresholds
from edge_runtime.records import (
    ANSWERS,
    Event,
    Frame,
    Layout,
    Scores,
    Slot,
    SlotReading,
    SlotStatus,
    State,
    Unusable,
    View,
)
from edge_runtime.shelf.evidence import Evidence, EvidenceSettings
from edge_runtime.shelf.reading import BLOCKED, UNSURE, read_slots
from edge_runtime.shelf.sight import Sight, SightSettings
from edge_runtime.shelf.witness import NO_SIGHTING, Sighting, Witness, WitnessSettings

STARTING = "starting"
"""Reason of a slot that has not had a sure picture yet."""
IN_SIGHT = "ok"
"""What a `camera` event calls a view that can be used."""
_RECOGNISED = 0.5
"""Novelty below which a slot looks as it did when its known state was confirmed."""
_FRESH = 0.3
"""Weight of the newest picture in the published confidence."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    sight: SightSettings = field(default_factory=SightSettings)
    witness: WitnessSettings | None = field(default_factory=WitnessSettings)
    """None: pixels are not compared."""
    passing_s: float = 120.0
    """What stands still before a slot for longer than this is no shopper."""


def event_id(frame: Frame, kind: str, slot: str, was: str, now: str) -> str:
    """Unique within a device, and the same whenever the same capture leads to the same event (replays, resends)."""
    text = "\x1f".join((frame.camera, str(frame.sequence), f"{frame.captured_at:.6f}", kind, slot, was, now))
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def make_event(frame: Frame, kind: str, slot: str, was: str, now: str, confidence: float, since: float) -> Event:
    """An event caused by this capture; `detail.since` is the first capture that spoke for it."""
    name = event_id(frame, kind, slot, was, now)
    return Event(name, kind, frame.camera, frame.captured_at, slot, was, now, confidence, {"since": since})


def _weighable(reading: SlotReading) -> bool:
    """Whether the slot could be seen well enough for its probabilities to mean something."""
    return reading.state in ANSWERS or reading.reason == UNSURE


class _SlotTracker:
    """One slot over time."""

    __slots__ = ("_confidence", "_evidence", "_first", "_known", "_passing_s", "_sight", "_since", "_slot", "_still_s")

    def __init__(self, slot: Slot, settings: TrackerSettings, remembered: SlotStatus | None) -> None:
        self._slot = slot
        self._passing_s = settings.passing_s
        self._still_s: float | None = None
        """Monotonic time since which the slot looks the same."""
        self._evidence = Evidence(settings.evidence)
        self._sight = Sight(settings.sight)
        self._known: State | None = None
        self._first = State.UNKNOWN
        """What is published while nothing is known."""
        self._confidence = self._since = 0.0
        if remembered is not None and remembered.state in ANSWERS:
            self._known = remembered.state
            self._confidence, self._since = remembered.confidence, remembered.since

    @property
    def known(self) -> State | None:
        """The last certain answer."""
        return self._known

    def observe(
        self, reading: SlotReading, frame: Frame, telling: bool, limit: float, sighting: Sighting
    ) -> Iterator[Event]:
        """Take one reading. `telling` is False where the whole view, not this slot, is the matter; `limit` is the
        probability at which a slot counts as blocked."""
        known = self._known
        if known is None:
            self._begin(reading, frame)
        if _weighable(reading) and self._weigh(reading, frame, limit, sighting) and known is not None:
            yield self._event(frame, "slot", known, self._known or known, self._since)
        recognised = known is not None and reading.reason == UNSURE and sighting.novelty < _RECOGNISED
        if reading.state in ANSWERS or recognised:
            told = self._sight.told
            was = self._sight.hidden[0] if self._sight.hidden is not None else ""
            if self._sight.see() and was and (recognised or reading.state is self._known):
                self._sight.show()
                if told:
                    yield self._event(frame, "sight", was, self._known or reading.state, frame.captured_at)
        elif self._sight.miss(frame, reading.state, reading.reason, telling and known is not None):
            self._evidence.clear()
            yield self._event(frame, "sight", known or State.UNKNOWN, reading.state, self._sight.since)

    def status(self, frame: Frame) -> SlotStatus:
        slot, hidden = self._slot, self._sight.hidden
        if hidden is not None:
            return SlotStatus(slot.id, slot.sku, State(hidden[0]), self._confidence, self._sight.since, hidden[1])
        if self._known is None:
            reason = STARTING if self._first is State.UNKNOWN else ""
            return SlotStatus(slot.id, slot.sku, self._first, self._confidence, self._since, reason)
        return SlotStatus(slot.id, slot.sku, self._known, self._confidence, self._since)

    def _weigh(self, reading: SlotReading, frame: Frame, limit: float, sighting: Sighting) -> bool:
        """Add the picture to the evidence; True if the known answer changed with it."""
        now_s = frame.captured_monotonic_s
        if self._still_s is None or not sighting.still:
            self._still_s = now_s
        clear = 1.0 - 2.0 * reading.scores[BLOCKED] / max(limit, 1e-6)
        if now_s - self._still_s >= self._passing_s:
            clear = 1.0
        change = self._evidence.update(self._known, reading, clear, frame.captured_at, now_s, sighting.novelty)
        if change is not None:
            self._known, self._since = change.state, change.began
            self._confidence = reading.scores[change.state]
        elif self._known is not None:
            self._confidence += _FRESH * (reading.scores[self._known] - self._confidence)
        return change is not None

    def _begin(self, reading: SlotReading, frame: Frame) -> None:
        """Publish what the newest sure picture says, as long as nothing better is known."""
        if not self._since or (reading.state in ANSWERS and reading.state is not self._first):
            self._since = frame.captured_at
        if reading.state in ANSWERS:
            self._first, self._confidence = reading.state, reading.confidence

    def _event(self, frame: Frame, kind: str, was: str, now: str, since: float) -> Event:
        return make_event(frame, kind, self._slot.id, str(was), str(now), self._confidence, since)


class ShelfTracker:
    """All slots of one camera over time (`pipeline.Shelf`)."""

    def __init__(
        self,
        camera: str,
        layout: Layout,
        thresholds: Thresholds,
        settings: TrackerSettings | None = None,
        remembered: Sequence[SlotStatus] = (),
    ) -> None:
        """`remembered`: statuses of an earlier run, so that a restart neither forgets nor announces what is known."""
        settings = settings or TrackerSettings()
        before = {(status.slot, status.sku): status for status in remembered}
        self._camera = camera
        self._layout = layout
        self._slots = tuple(_SlotTracker(slot, settings, before.get((slot.id, slot.sku))) for slot in layout.slots)
        self._view = Sight(settings.sight)
        self._witness = Witness(len(layout.slots), settings.witness) if settings.witness else None
        self.thresholds = thresholds
        """Of the model in charge; set it between two frames when the model changes."""

    @property
    def out_of_sight(self) -> str:
        """Why the whole view can not be used, once that has lasted; empty while it can."""
        return self._view.hidden[0] if self._view.hidden else ""

    def observe(
        self, view: View | Unusable, scores: Scores | None
    ) -> tuple[tuple[SlotReading, ...], tuple[SlotStatus, ...], tuple[Event, ...]]:
        frame = view.frame
        readings = read_slots(self._layout, view, scores, self.thresholds)
        events = list(self._observe_view(view))
        telling = isinstance(view, View) and scores is not None
        sightings = self._compare(view)
        before = [slot.known for slot in self._slots]
        for slot, reading, sighting in zip(self._slots, readings, sightings, strict=True):
            events.extend(slot.observe(reading, frame, telling, self.thresholds.blocked, sighting))
        self._remember(before, readings, sightings)
        return readings, tuple(slot.status(frame) for slot in self._slots), tuple(events)

    def _compare(self, view: View | Unusable) -> Sequence[Sighting]:
        if self._witness is None or isinstance(view, Unusable):
            return [NO_SIGHTING] * len(self._slots)
        return self._witness.compare(view.crops, view.registration.moved)

    def _remember(
        self, before: Sequence[State | None], readings: Sequence[SlotReading], sightings: Sequence[Sighting]
    ) -> None:
        """Keep how the slots look that this picture shows in the state that is known."""
        if self._witness is None:
            return
        learned, followed = [], []
        limit = 0.5 * self.thresholds.blocked
        for number, (slot, was, reading) in enumerate(zip(self._slots, before, readings, strict=True)):
            if slot.known is None or not _weighable(reading) or reading.scores[BLOCKED] > limit:
                continue
            if slot.known is not was:
                learned.append(number)
            elif reading.state is slot.known or sightings[number].novelty < _RECOGNISED:
                followed.append(number)
        self._witness.learn(learned)
        self._witness.follow(followed)

    def _observe_view(self, view: View | Unusable) -> Iterator[Event]:
        if isinstance(view, Unusable):
            if self._view.miss(view.frame, str(view.reason), "", telling=True):
                yield make_event(view.frame, "camera", "", IN_SIGHT, str(view.reason), 1.0, self._view.since)
        elif self._view.see() and self._view.hidden is not None:
            was, told = self._view.hidden[0], self._view.told
            self._view.show()
            if told:
                yield make_event(view.frame, "camera", "", was, IN_SIGHT, 1.0, view.frame.captured_at)
