"""The last events, so that somebody who stands before the shelf can say whether one was right."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from edge_runtime.errors import Refused
from edge_runtime.records import ANSWERS, Event, ModelId, Outcome, State

REMEMBERED = 512


@dataclass(slots=True)
class Labelled:
    """One event, the model that led to it, and what was said of it."""

    event: Event
    model: ModelId | None
    right: bool | None = None


class RecentEvents:
    """A `pipeline.Observer`. Outlives a reload, not a restart. Owned by the inference loop."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, Labelled] = OrderedDict()
        self.counts: Counter[str] = Counter()
        """`right` and `wrong` labels since the start."""

    def observe(self, outcome: Outcome) -> None:
        model = outcome.scores.model if outcome.scores is not None else None
        for event in outcome.events:
            self._events[event.id] = Labelled(event, model)
        while len(self._events) > REMEMBERED:
            self._events.popitem(last=False)

    def label(self, name: str, right: bool) -> tuple[Labelled, bool]:
        """The event, and whether this is the first label of it. Raises Refused for one that is not remembered, that no
        person can judge, or that was labelled the other way."""
        found = self._events.get(name)
        if found is None:
            raise Refused(
                f"event {name!r:.80} is not among the last {REMEMBERED} of this run",
                "Say camera, slot and state instead",
            )
        if found.event.kind != "slot" or found.event.now not in tuple(map(str, ANSWERS)):
            raise Refused(f"event {name!r:.80} is of kind {found.event.kind}, only slot changes are right or wrong")
        if found.right is not None and found.right is not right:
            raise Refused(f"event {name!r:.80} was said to be {'right' if found.right else 'wrong'} before")
        first = found.right is None
        if first:
            found.right = right
            self.counts["right" if right else "wrong"] += 1
        return found, first


def state_of(event: Event) -> State:
    """What the event says that the slot became."""
    return State(event.now)
