"""The engine of a rollout: what is known of it and of the fleet in, the next records out. Pure; `run` does what they say.

A record counts once it is on the disk and at the broker, and only then is it acted upon; what is to be done is derived from
the records and the fleet at every step, so that it makes no difference where it was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.fleet.operator.rollouts import cohort as c
from edge_runtime.fleet.operator.rollouts.assess import count_gates, figure_gates
from edge_runtime.fleet.operator.rollouts.evidence import means
from edge_runtime.fleet.operator.rollouts.gates import MIN_WINDOWS
from edge_runtime.fleet.operator.rollouts.plan import FIGURES
from edge_runtime.fleet.operator.rollouts.records import ENDS, MAX_NOTE, Batch, Head, Judged, Phase, Record, Touched
from edge_runtime.fleet.operator.rollouts.sight import Sight

BATCH = 50
"""Devices that are written before the next are looked at: also the most that an owner touches after it was overtaken."""
WRITE_S = 120.0
"""A broker that has not retained a wish by then never will."""
BACK_S = 3_600.0
"""So long it is waited for devices to go back, which takes no trial."""
HEARD_S = 5.0
"""Long enough for retained messages to have come in."""
_WAITS = (0.5, 1.0)
_MORE = (0.25, 0.5, 1.0)
LAST_LOOK = len(_WAITS) + len(_MORE) - 1


class Rollout:
    """One rollout. `take` records in any order, those of an owner that was overtaken too; `step` says which are next; `outstanding` what is to be written."""

    def __init__(self, head: Head, batches: Iterable[Batch] = ()) -> None:
        self.head = head
        self.cohort = c.Cohort()
        self._batches: dict[str, None] = {}
        for batch in batches:
            self.take(batch)

    @property
    def over(self) -> bool:
        """Nothing happens any more by itself."""
        return self.head.phase in ENDS or self.head.phase == "halted"

    def take(self, record: Record) -> None:
        if isinstance(record, Batch):
            if record.id not in self._batches:
                self._batches[record.id] = None
                self.cohort.take(record)
        elif record.rank > self.head.rank:
            self.head = record

    def step(self, sight: Sight, now: float) -> list[Record]:
        """The records that come next, in the order in which they are to be written; none while there is nothing to say."""
        phase = self.head.phase
        if phase == "baseline":
            return self._baseline(sight, now)
        if phase == "writing":
            return self._writing(sight, now)
        if phase == "settling":
            return self._settling(sight, now)
        if phase == "soaking":
            return self._soaking(sight, now)
        return self._restoring(sight, now) if phase == "restoring" else []

    def outstanding(self, sight: Sight) -> Iterator[Desired]:
        """Wishes that are not retained yet."""
        if self.over:
            return
        for touched in self.cohort.touched.values():
            if not c.is_written(self.head, touched, sight.seen(touched.device)):
                yield c.wanted(self.head, touched)

    # what a person does

    def claimed(self, owner: str, now: float) -> Head:
        """The head of a new owner. Figures that only the old one had heard are gone: what rests on them begins anew."""
        phase = _anew(self.head.phase)
        since = now if phase in ("baseline", "soaking") else self.head.since
        return msgspec.structs.replace(
            self.head, generation=self.head.generation + 1, owner=owner, revision=1, at=now, phase=phase, since=since
        )

    def resumed(self, now: float) -> Head:
        phase: Phase = "baseline"
        if self.head.halted_in != "":
            phase = _anew(self.head.halted_in)
        return self._to(phase, now, halted_in="", note="")

    def halted(self, note: str, now: float, judged: tuple[Judged, ...] = ()) -> Head:
        return self._to(
            "halted", now, halted_in=self.head.phase, note=note[:MAX_NOTE], judged=judged or self.head.judged
        )

    def reversed(self, note: str, now: float, judged: tuple[Judged, ...] = ()) -> Head:
        """Every touched device is taken back to what it was."""
        return self._to("restoring", now, note=note[:MAX_NOTE], judged=judged or self.head.judged)

    # the phases

    def _baseline(self, sight: Sight, now: float) -> list[Record]:
        plan, ring = self.head.plan, self.head.ring
        members, begun = c.next_members(plan, ring, self.cohort, sight), self.cohort.ring(ring)
        if not members:
            following = self._to("writing", now) if begun else self._onward(now)
            return [following] if self._had_time(now) else []
        present = [device for device in members if sight.seen(device).online]
        ready = sum(self._has_past(device, sight) for device in present)
        compares = any(gate in plan.gates for gate in FIGURES)
        if present and (not compares or ready >= max(1, plan.reporting * len(present))):
            return [self._to("writing", now)]
        judges = [touched for touched in begun if touched.online]
        if not present and (judges or ring == len(plan.rings) - 1) and self._had_time(now):
            return [self._to("writing", now)]  # nobody else to judge by, or nobody left who would be touched next
        if now - self.head.since > plan.patience_s:
            known = ready + sum(self._had_past(touched) for touched in judges)
            if judges and known >= plan.reporting * (len(judges) + len(present)):
                return [self._to("writing", now)]  # a ring that was begun has enough without those who tell nothing
            name = plan.rings[ring].name
            return [
                self.halted(
                    f"ring {name}: of {len(members)} devices {len(present)} are online, and {ready} of them have told "
                    "figures of the model before: there is nothing to compare with. Check that they send telemetry, "
                    "then resume",
                    now,
                )
            ]
        return []

    def _writing(self, sight: Sight, now: float) -> list[Record]:
        if next(self.outstanding(sight), None) is not None:
            if now - self.head.at > WRITE_S < sight.connected_s:
                text = "the broker does not retain what is desired: check that its access list lets the operator write"
                return [self.halted(text, now)]
            return []
        plan, ring = self.head.plan, self.head.ring
        members = c.next_members(plan, ring, self.cohort, sight)
        if not members:
            return [self._to("settling", now)]
        chosen = members[:BATCH]
        first = not any(number == ring for number in self.cohort.ring_of.values())
        controls = c.pick_controls(plan, members, self.cohort, sight) if first else ()
        touched = tuple(c.touch(device, plan, sight, now) for device in chosen)
        name = f"{self.head.generation}-{len(self._batches)}"
        batch = Batch(name=self.head.name, id=name, ring=ring, at=now, touched=touched, controls=controls)
        return [batch, self._to("writing", now, since=self.head.since, batches=(*self._batches, name))]

    def _settling(self, sight: Sight, now: float) -> list[Record]:
        plan, waited_s = self.head.plan, now - self.head.since
        late = waited_s > plan.settle_s and sight.connected_s > plan.grace_s  # else what is seen may be old
        judged = count_gates(self.head, self.cohort, sight, stuck_counts=late)
        if (found := self._failed(judged, now)) is not None:
            return [found]
        ring = [t for t in self.cohort.ring(self.head.ring) if t.online]
        ends = {t.device: c.outcome(t, sight.seen(t.device)) for t in ring}
        done = sum(end in ("done", "other") for end in ends.values())
        views = {device: sight.seen(device) for device in ends}
        going = [d for d, end in ends.items() if end == "open" and (views[d].online or views[d].away_s < plan.grace_s)]
        if (not going or late) and done >= plan.reporting * len(ring):
            return [self._to("soaking", now, looks=0, judged=judged)]
        if waited_s > plan.settle_s + plan.patience_s:
            text = (
                f"{done} of {len(ring)} devices of the ring have the model; {plan.reporting:.0%} are needed to judge it"
            )
            if trying := sum(seen.trying for seen in views.values()):
                text += f". {trying} are in their shadow run or trial still: see [model] shadow_s and trial_s there"
            return [self.halted(text + ". See fleet ls --offline; then resume or abort", now, judged)]
        return []

    def _soaking(self, sight: Sight, now: float) -> list[Record]:
        judged = count_gates(self.head, self.cohort, sight)
        if (found := self._failed(judged, now)) is not None:
            return [found]
        look = self.head.looks
        if now - self.head.since < self._moment(look):
            return []
        judged += figure_gates(self.head, self.cohort, sight, look + 1)
        if (found := self._failed(judged, now, look >= LAST_LOOK)) is not None:
            return [found]
        if look >= 1 and all(each.outcome == "passed" for each in judged):
            return [self._onward(now, judged)]
        if look >= LAST_LOOK:
            return [self.halted(_undecided(judged) + "; resume to wait for more, or abort", now, judged)]
        return [self._to("soaking", now, since=self.head.since, looks=look + 1, judged=judged)]

    def _restoring(self, sight: Sight, now: float) -> list[Record]:
        if next(self.outstanding(sight), None) is not None:
            return []
        open_ones = away = lost = 0
        for touched in self.cohort.touched.values():
            seen = sight.seen(touched.device)
            if seen.reported_seq > touched.seq and seen.reported != "converging":
                lost += seen.reported in ("failed", "refused")
                continue
            open_ones += seen.online
            away += not seen.online
        if open_ones and now - self.head.since <= min(self.head.plan.settle_s, BACK_S):
            return []
        tail = f" {open_ones} devices have not said that they are back." if open_ones else ""
        tail += f" {lost} devices could not go back: see fleet ls --degraded." if lost else ""
        tail += f" {away} are offline and go back when they come." if away else ""
        return [self._to("restored", now, note=(self.head.note + tail)[:MAX_NOTE])]

    # how they hang together

    def _to(self, phase: Phase, now: float, **changes: object) -> Head:
        fields = {"since": now, "batches": tuple(self._batches)} | changes
        return msgspec.structs.replace(self.head, revision=self.head.revision + 1, at=now, phase=phase, **fields)

    def _onward(self, now: float, judged: tuple[Judged, ...] = ()) -> Head:
        if self.head.ring + 1 < len(self.head.plan.rings):
            return self._to("baseline", now, ring=self.head.ring + 1, looks=0, judged=judged)
        return self._to("completed", now, judged=judged, note=f"{len(self.cohort.touched)} devices")

    def _failed(self, judged: tuple[Judged, ...], now: float, last: bool = False) -> Head | None:
        """The way back, if a gate says so: by its bound, or at the last look by the harm that was met."""
        for each in judged:
            worse = last and each.outcome == "unsure" and (each.harm or 0.0) > each.limit
            if each.outcome == "failed" or worse:
                ring = self.head.plan.rings[self.head.ring].name
                return self.reversed(f"ring {ring}: gate {told(each)}", now, judged)
        return None

    def _moment(self, look: int) -> float:
        """Seconds after the soak began at which the figures are looked at for the (look + 1)-th time."""
        plan = self.head.plan
        if look < len(_WAITS):
            return _WAITS[look] * plan.soak_s
        return plan.soak_s + _MORE[min(look - len(_WAITS), len(_MORE) - 1)] * plan.patience_s

    def _has_past(self, device: str, sight: Sight) -> bool:
        target = self.head.plan.model
        found = means(w for w in sight.windows(device) if w.model != f"{target.name}-{target.version}")
        return self._is_past(sight.seen(device).model, found)

    def _had_past(self, touched: Touched) -> bool:
        return self._is_past(touched.model, touched.figures)

    def _is_past(self, runs: DesiredModel | None, figures: Mapping[str, tuple[float, int]]) -> bool:
        target, gates = self.head.plan.model, self.head.plan.gates
        same = runs is not None and target.fits(runs.name, runs.version, runs.sha256)
        return same or any(figures.get(gate, (0.0, 0))[1] >= MIN_WINDOWS for gate in FIGURES if gate in gates)

    def _had_time(self, now: float) -> bool:
        return now - self.head.since > HEARD_S


def _anew(phase: Phase) -> Phase:
    """Where a phase begins again whose figures are lost: a ring that is half written first gathers those of the other half."""
    return "baseline" if phase == "writing" else phase


def told(judged: Judged) -> str:
    """`accuracy_drop: 0.081 (0.052 to 0.11), 0.03 is borne; 5 devices, 40 controls`."""
    bounds = "" if judged.low is None else f" ({judged.low:.3g} to {judged.high:.3g})"
    found = "no figures" if judged.harm is None else f"{judged.harm:.3g}{bounds}"
    others = f" against {judged.controls} others" if judged.controls else ""
    return f"{judged.gate} {judged.outcome}: {found}, {judged.limit:g} is borne; {judged.devices} devices{others}"


def _undecided(judged: tuple[Judged, ...]) -> str:
    return "not shown to be harmless: " + "; ".join(told(each) for each in judged if each.outcome != "passed")
