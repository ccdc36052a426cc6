"""All gates of a rollout at one moment, over the devices that were touched. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from edge_runtime.fleet.operator.rollouts.cohort import Cohort, outcome
from edge_runtime.fleet.operator.rollouts.evidence import Window, means
from edge_runtime.fleet.operator.rollouts.gates import Pair, counted, judge
from edge_runtime.fleet.operator.rollouts.plan import FIGURES
from edge_runtime.fleet.operator.rollouts.records import Head, Judged, Touched
from edge_runtime.fleet.operator.rollouts.sight import Sight


def count_gates(head: Head, cohort: Cohort, sight: Sight, stuck_counts: bool = False) -> tuple[Judged, ...]:
    """Failed, offline and restarted devices. `stuck_counts`: those that are online, not done and not at it count as failed."""
    gates, ring = head.plan.gates, cohort.ring(head.ring)
    found = []
    if "failed_share" in gates:
        for members in (ring, list(cohort.touched.values())):
            found.append(_failed(gates["failed_share"], members, sight, stuck_counts))
        found = [max(found, key=lambda judged: (judged.outcome == "failed", judged.harm or 0.0))]
    if "offline_share" in gates:
        found.append(_offline(head, cohort, sight))
    if "restart_share" in gates:
        found.append(_restarted(head, cohort, sight))
    return tuple(found)


def _failed(limit: float, members: Iterable[Touched], sight: Sight, stuck_counts: bool) -> Judged:
    bad = size = 0
    for touched in members:
        seen = sight.seen(touched.device)
        end = outcome(touched, seen)
        stuck = end == "open" and seen.online and touched.online and not seen.trying
        bad += end == "bad" or (stuck_counts and stuck)
        size += touched.online or end in ("done", "bad")
    return counted("failed_share", limit, bad, size)


def _offline(head: Head, cohort: Cohort, sight: Sight) -> Judged:
    grace_s, controls = head.plan.grace_s, cohort.controls.get(head.ring, ())

    def away(device: str) -> bool:
        seen = sight.seen(device)
        return not seen.online and seen.away_s >= grace_s

    present = [t for t in cohort.touched.values() if t.online]
    gone = sum(away(t.device) for t in present)
    others = sum(away(control.device) for control in controls)
    return counted("offline_share", head.plan.gates["offline_share"], gone, len(present), others, len(controls))


def _restarted(head: Head, cohort: Cohort, sight: Sight) -> Judged:
    def again(device: str, session: int) -> bool:
        seen = sight.seen(device)
        return seen.online and session > 0 and seen.session > session

    ring = [t for t in cohort.ring(head.ring) if t.online]
    controls = cohort.controls.get(head.ring, ())
    return counted(
        "restart_share",
        head.plan.gates["restart_share"],
        sum(again(t.device, t.session) for t in ring),
        len(ring),
        sum(again(control.device, control.session) for control in controls),
        len(controls),
    )


def figure_gates(head: Head, cohort: Cohort, sight: Sight, look: int) -> tuple[Judged, ...]:
    """What the figures say of this ring at the `look`-th look.

    Nothing, where all of its devices had the model before, or where only those that were offline were left for the last ring.
    """
    plan = head.plan
    target = f"{plan.model.name}-{plan.model.version}"
    ring = [t for t in cohort.ring(head.ring) if t.online and not _had_it(t, head)]
    if not ring:
        return ()
    pairs = [
        _pair(t.figures, (w for w in sight.windows(t.device) if w.model == target and w.at > cohort.at_of[t.device]))
        for t in ring
    ]
    began = head.since
    controls = [
        _pair(control.figures, (w for w in sight.windows(control.device) if w.at > began))
        for control in cohort.controls.get(head.ring, ())
        if control.device not in cohort.touched or cohort.ring_of[control.device] < head.ring
    ]
    return tuple(
        judge(gate, plan.gates[gate], pairs, controls, look, len(ring), plan.reporting)
        for gate in FIGURES
        if gate in plan.gates
    )


def _had_it(touched: Touched, head: Head) -> bool:
    model, target = touched.model, head.plan.model
    return model is not None and target.fits(model.name, model.version, model.sha256)


def _pair(before: dict[str, tuple[float, int]], after: Iterable[Window]) -> Pair:
    kept = list(after)
    windows = {
        name: [value for window in kept if (value := window.figures[number]) is not None]
        for number, name in enumerate(FIGURES)
    }
    return Pair(before, means(kept), windows)
