"""The devices of a rollout: which come next, what each is to be, and how far they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_runtime.fleet.desired import Desired
from edge_runtime.fleet.operator.rollouts.evidence import means
from edge_runtime.fleet.operator.rollouts.plan import Plan, in_order
from edge_runtime.fleet.operator.rollouts.records import Batch, Control, Head, Touched
from edge_runtime.fleet.operator.rollouts.sight import Seen, Sight

MAX_CONTROLS = 200


@dataclass(slots=True)
class Cohort:
    """All devices that were touched, by the batches that say so."""

    touched: dict[str, Touched] = field(default_factory=dict)
    ring_of: dict[str, int] = field(default_factory=dict)
    at_of: dict[str, float] = field(default_factory=dict)
    controls: dict[int, tuple[Control, ...]] = field(default_factory=dict)

    def take(self, batch: Batch) -> None:
        """A device in two batches (of two owners at once) keeps its first past and its last `seq`."""
        for each in batch.touched:
            known = self.touched.get(each.device)
            if known is None:
                self.touched[each.device] = each
                self.ring_of[each.device] = batch.ring
                self.at_of[each.device] = batch.at
            else:
                first, last = sorted((known, each), key=lambda t: t.seq)
                kept = {name: getattr(first, name) for name in Touched.__struct_fields__} | {"seq": last.seq}
                self.touched[each.device] = Touched(**kept)
                self.at_of[each.device] = max(self.at_of[each.device], batch.at)
        if batch.controls:
            self.controls.setdefault(batch.ring, batch.controls)

    def ring(self, number: int) -> list[Touched]:
        return [t for device, t in self.touched.items() if self.ring_of[device] == number]


def next_members(plan: Plan, ring_number: int, cohort: Cohort, sight: Sight) -> list[str]:
    """The devices that the ring still has to touch, in order.

    Devices that are online come first, for the others can not be judged by; the last ring takes all that are left.
    """
    ring, eligible = plan.rings[ring_number], set(sight.eligible(plan))
    open_ones = [device for device in in_order(eligible, plan.seed) if device not in cohort.touched]
    if ring_number == len(plan.rings) - 1 and ring.share >= 1.0:
        return open_ones
    if ring.group:
        members = set(sight.members(ring.group))
        return [device for device in open_ones if device in members]
    present = [device for device in open_ones if sight.seen(device).online]
    in_ring = sum(number == ring_number for number in cohort.ring_of.values())
    total = len(eligible | cohort.touched.keys())
    room = ring.size(total) - (in_ring if ring.count else len(cohort.touched))
    return present[: max(0, room)]


def touch(device: str, plan: Plan, sight: Sight, now: float) -> Touched:
    """All that is to be remembered of a device before it is written."""
    seen = sight.seen(device)
    before = seen.desired
    was = before.model if before is not None and before.model is not None else seen.model
    if before is not None and seen.reported == "failed" and seen.reported_seq == before.seq:
        was = seen.model or was  # what could not be had is not to be wished for again
    target = f"{plan.model.name}-{plan.model.version}"
    return Touched(
        device,
        max(int(now * 1e3), seen.floor + 1),
        was,
        dict(before.config) if before else {},
        dict(means(window for window in sight.windows(device) if window.model != target)),
        seen.online,
        seen.session,
        seen.rollbacks,
    )


def pick_controls(plan: Plan, members: Iterable[str], cohort: Cohort, sight: Sight) -> tuple[Control, ...]:
    """Devices that this ring leaves alone, with their figures: those that were never touched first.

    Devices of earlier rings serve as well: they run the same model before and after, so only the world moves their figures.
    """
    ring = set(members)
    others = [device for device in in_order(sight.eligible(plan), plan.seed) if device not in ring]
    others.sort(key=lambda device: device in cohort.touched)
    found = []
    for device in others:
        seen = sight.seen(device)
        runs = f"{seen.model.name}-{seen.model.version}" if seen.model else ""
        figures = dict(means(window for window in sight.windows(device) if window.model == runs))
        if seen.online and figures:
            found.append(Control(device, figures, seen.session))
        if len(found) == MAX_CONTROLS:
            break
    return tuple(found)


def wanted(head: Head, touched: Touched) -> Desired:
    """What the device is to be now. The same head gives the same wish, so that writing it again changes nothing."""
    back = head.phase in ("restoring", "restored")
    return Desired(
        audience=touched.device,
        seq=touched.seq + back,
        issued_at=touched.seq / 1e3,
        model=touched.model if back else head.plan.model,
        config=touched.config,
        rollout=head.name,
    )


def is_written(head: Head, touched: Touched, seen: Seen) -> bool:
    """Whether the wish is retained, or somebody has wished something newer since."""
    wish = wanted(head, touched)
    return seen.desired is not None and (seen.desired.seq > wish.seq or seen.desired == wish)


def outcome(touched: Touched, seen: Seen) -> str:
    """`done`, `bad`, `other` (somebody else has wished something newer) or `open`."""
    if seen.rollbacks > touched.rollbacks:
        return "bad"
    if seen.reported_seq == touched.seq:
        return {"converged": "done", "failed": "bad", "refused": "bad"}.get(seen.reported, "open")
    return "other" if seen.reported_seq > touched.seq else "open"
