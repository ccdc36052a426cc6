"""How well a day was told: events, time to detect, false alerts, states and on-shelf availability.

A told event is right if it names what stands in the slot since a change of the truth and comes before the next change;
only the first such event counts. One that names what stood there for a moment only (see `day_truth`) is left out.
All others are false alerts: a wrong state, a change that never was, the same change told twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_runtime.cli.day_truth import LASTING, Change, DayTruth, Seen, standing
from edge_runtime.records import ANSWERS, Event, Outcome, SlotStatus, State
from edge_runtime.shelf.business import BusinessFigures


@dataclass(slots=True)
class DayMarks:
    """What was found about one or several days; add days with `+`."""

    days: int = 0
    captures: int = 0
    wanted: int = 0
    """Events of the truth."""
    told: int = 0
    """Events told, without those that are left out."""
    right: int = 0
    delays: list[int] = field(default_factory=list)
    """Captures in which the slot could be seen, from the first after the change to the one that told it: 1 is at once."""
    cells: Counter[tuple[State, State]] = field(default_factory=Counter)
    """(true, published) over slots that can be seen."""
    availability_errors: list[float] = field(default_factory=list)
    """Points, signed, one a day."""
    false: list[tuple[float, str, str, str]] = field(default_factory=list)
    """(t, slot, from, to) of every false alert."""
    missed: list[Change] = field(default_factory=list)

    def __add__(self, other: DayMarks) -> DayMarks:
        return DayMarks(
            self.days + other.days,
            self.captures + other.captures,
            self.wanted + other.wanted,
            self.told + other.told,
            self.right + other.right,
            self.delays + other.delays,
            self.cells + other.cells,
            self.availability_errors + other.availability_errors,
            self.false + other.false,
            self.missed + other.missed,
        )

    def summary(self) -> dict[str, object]:
        """The figures of BENCH.md 1, "Day script"; None where nothing was there to be measured."""
        answered = {true: sum(self.cells[true, said] for said in ANSWERS) for true in ANSWERS}
        seen = {true: sum(n for (t, _), n in self.cells.items() if t is true) for true in ANSWERS}
        right = sum(self.cells[s, s] for s in ANSWERS)
        recalls = [self.cells[s, s] / seen[s] for s in ANSWERS if seen[s]]
        errors = [abs(error) for error in self.availability_errors]
        return {
            "days": self.days,
            "captures": self.captures,
            "events_true": self.wanted,
            "events_told": self.told,
            "event_recall": _share(self.right, self.wanted),
            "event_precision": _share(self.right, self.told),
            "captures_to_detect_median": _percentile(self.delays, 0.5),
            "captures_to_detect_p95": _percentile(self.delays, 0.95),
            "false_alerts_per_day": _share(self.told - self.right, self.days),
            "availability_error_points": round(sum(errors) / len(errors), 4) if errors else None,
            "availability_error_worst": round(max(errors), 4) if errors else None,
            "accuracy": _share(right, sum(answered.values())),
            "balanced_accuracy": round(sum(recalls) / len(recalls), 4) if recalls else None,
            "recall": {str(s): _share(self.cells[s, s], seen[s]) for s in ANSWERS},
            "coverage": _share(sum(answered.values()), sum(seen.values())),
        }


class DayScore:
    """Takes a day capture by capture."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Seen]] = {}
        self._told: dict[str, list[tuple[int, Event]]] = {}
        self._times: list[float] = []
        self._cells: Counter[tuple[State, State]] = Counter()
        self._business = BusinessFigures(max_gap_s=float("inf"))
        self._there = self._slots = 0

    def take(
        self, t: float, truth: Mapping[str, Seen], statuses: Sequence[SlotStatus], events: Sequence[Event]
    ) -> None:
        """One capture: what was true, what is published now, and what was told with it."""
        number = len(self._times)
        self._times.append(t)
        for slot, seen in truth.items():
            self._seen.setdefault(slot, []).append(seen)
            self._there += seen.stock is not State.EMPTY
            self._slots += 1
        for status in statuses:
            found = truth.get(status.slot)
            if found is not None and found.visible:
                self._cells[found.stock, status.state] += 1
        for event in events:
            if event.kind == "slot":
                self._told.setdefault(event.slot, []).append((number, event))
        self._business.update(statuses, t)

    def marks(self, lasting: int = LASTING) -> DayMarks:
        """What the captures so far amount to."""
        found = DayMarks(1, len(self._times), cells=Counter(self._cells))
        for slot, seen in self._seen.items():
            self._judge(slot, seen, lasting, found)
        published = self._business.figures().availability
        if published is not None and self._slots:
            found.availability_errors.append(100 * (published - self._there / self._slots))
        return found

    def _judge(self, slot: str, seen: Sequence[Seen], lasting: int, found: DayMarks) -> None:
        stood = standing(slot, seen, lasting)
        wanted = stood[1:]
        found.wanted += len(wanted)
        excused = False
        for number, event in self._told.get(slot, []):
            hit = next((c for c in wanted if c.first <= number < c.end and str(c.state) == event.now), None)
            was_excused, excused = excused, hit is None and _fleeting(stood, seen, number, event.now)
            if hit is not None:
                wanted.remove(hit)
                found.right += 1
                found.told += 1
                found.delays.append(sum(seen[k].visible for k in range(hit.first, number + 1)))
            elif not excused and not (was_excused and str(seen[number].stock) == event.now):
                found.told += 1
                found.false.append((self._times[number], slot, event.was, event.now))
        found.missed += wanted


class DayJudge:
    """Scores the outcomes of a replayed recording; captures about which the truth says nothing are counted, not scored."""

    def __init__(self, truth: DayTruth, step_s: float) -> None:
        self._truth = truth
        self._within_s = step_s / 2
        self._score = DayScore()
        self.unknown = 0
        """Frames of which the truth says nothing."""

    def take(self, outcome: Outcome) -> None:
        """One frame of the recording."""
        t = outcome.frame.captured_monotonic_s
        row = self._truth.at(t, self._within_s)
        if row is None:
            self.unknown += 1
            return
        self._score.take(t, row, outcome.statuses, outcome.events)

    def summary(self) -> dict[str, object]:
        """As `DayMarks.summary`, and how many captures the truth did not know."""
        return self._score.marks().summary() | {"captures_without_truth": self.unknown}


def _fleeting(stood: Sequence[Change], seen: Sequence[Seen], number: int, now: str) -> bool:
    """Whether it was true when it was told, of something that did not last."""
    lasting = any(c.first <= number < c.end and str(c.state) == now for c in stood)
    return str(seen[number].stock) == now and not lasting


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least `share` of all do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
