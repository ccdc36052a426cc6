"""How a rollout is told, to people and to programs; and the plan that a command line asks for."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, screen
from edge_runtime.cli.output import complain, emit, say
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Refused, Usage

if TYPE_CHECKING:
    from edge_runtime.fleet.operator.rollouts.engine import Rollout
    from edge_runtime.fleet.operator.rollouts.ledger import Ledger
    from edge_runtime.fleet.operator.rollouts.plan import Plan
    from edge_runtime.fleet.operator.rollouts.records import Head
    from edge_runtime.fleet.operator.rollouts.run import Watchtower
    from edge_runtime.fleet.operator.rollouts.sight import Sight

PHASES = {
    "baseline": "gathering figures of the model before",
    "writing": "writing what is desired",
    "settling": "waiting until the devices have the model",
    "soaking": "watching the devices with the model",
    "restoring": "taking the model back",
    "halted": "halted",
    "restored": "taken back",
    "completed": "completed",
}
_COLOURS = {"completed": "green", "restored": "red", "halted": "yellow", "restoring": "red"}


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises Usage for what no rollout can be."""
    import msgspec

    from edge_runtime.fleet.desired import DesiredModel
    from edge_runtime.fleet.operator.rollouts.plan import Plan, parse_gates, parse_rings

    plan = Plan(
        model=DesiredModel(
            name=args.model, version=args.version, sha256=args.sha256, shadow_s=args.shadow, trial_s=args.trial
        ),
        rings=parse_rings(args.rings),
        gates=parse_gates(args.gate),
        seed=args.seed or args.name,
        pattern=args.pattern,
        group=args.group,
        soak_s=args.soak,
        settle_s=args.settle,
        patience_s=args.patience,
        grace_s=args.grace,
        reporting=args.reporting,
    )
    try:
        return msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    except msgspec.ValidationError as fault:
        raise Usage(f"no rollout can be like that: {fault}", "See fleet rollout start --help") from None


def check_free(plan: Plan, tower: Watchtower) -> None:
    """Raises Refused if the plan is for no device, or another rollout is under way among its devices."""
    from edge_runtime.fleet.operator.rollouts.records import ENDS

    mine = set(tower.sight.eligible(plan))
    if not mine:
        raise Refused("no device is meant", "See fleet ls, and --pattern and --group")
    for known in tower.ledger.rollouts.values():
        head = known.head
        if head is not None and head.phase not in ENDS and mine & set(tower.sight.eligible(head.plan)):
            raise Refused(
                f"the rollout {head.name!r} is under way among these devices ({head.phase})",
                f"Let it end, or: edge-runtime fleet rollout abort {head.name}",
            )


def record(head: Head) -> dict[str, object]:
    """One rollout for programs."""
    import msgspec

    plan = head.plan
    return {
        "rollout": head.name,
        "phase": head.phase,
        "model": f"{plan.model.name}-{plan.model.version}",
        "ring": plan.rings[head.ring].name,
        "rings": [ring.name for ring in plan.rings],
        "began_at": head.began_at,
        "at": head.at,
        "since": head.since,
        "owner": head.owner,
        "generation": head.generation,
        "note": head.note,
        "gates": [msgspec.to_builtins(judged) for judged in head.judged],
    }


def lines(head: Head, now: float) -> list[str]:
    """One rollout for people."""
    from edge_runtime.fleet.operator.rollouts.engine import told

    plan, ring = head.plan, head.plan.rings[head.ring]
    found = [
        f"{head.name}: {plan.model.name} {plan.model.version}, ring {ring.name} ({head.ring + 1} of {len(plan.rings)}), "
        f"{PHASES[head.phase]} for {screen.age(max(0.0, now - head.since))}",
        f"  carried on by {head.owner}, last word {screen.age(max(0.0, now - head.at))} ago",
    ]
    if head.note:
        found.append(f"  {head.note}")
    return found + [f"  {told(judged)}" for judged in head.judged]


def status(args: argparse.Namespace) -> int:
    """`fleet rollout status`: what the broker retains, and nothing else."""
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.rollouts.ledger import FILTER, Ledger
    from edge_runtime.fleet.operator.survey import PARTIAL, survey

    where = place.find_place(args)
    ledger = Ledger(where.opener())
    with Connection(where.reach, "rollouts", ((FILTER, 1),)) as connection:
        if not survey(connection, lambda message: ledger.take(message.topic, message.payload)):
            complain(PARTIAL)
    return _show(args, ledger)


def _show(args: argparse.Namespace, ledger: Ledger) -> int:
    heads = [known.head for _, known in sorted(ledger.rollouts.items()) if known.head is not None]
    heads = [head for head in heads if args.name in ("", head.name)]
    for topic, why in sorted(ledger.refused.items()):
        complain(screen.clean(f"{topic} is not believed: {why}"))
    if args.name and not heads:
        raise Refused(f"the broker knows no rollout {args.name!r}", "See fleet rollout status")
    for head in heads:
        if args.json:
            emit(record(head))
        else:
            for line in lines(head, time.time()):
                say(screen.clean(line))
    if not heads and not args.json:
        say("no rollouts")
    return EXIT_PROBLEM if any(head.phase in ("halted", "restored", "restoring") for head in heads) else EXIT_OK


def watch(args: argparse.Namespace) -> int:
    """`fleet rollout watch`: until it is over; of all rollouts, until somebody ends it."""
    from edge_runtime.fleet.operator.connection import Arrived, Connection
    from edge_runtime.fleet.operator.rollouts.ledger import FILTER, Ledger
    from edge_runtime.fleet.operator.rollouts.records import ENDS, Head
    from edge_runtime.fleet.operator.survey import survey

    where = place.find_place(args)
    ledger, first = Ledger(where.opener()), list[Arrived]()
    with Connection(where.reach, "rollouts", ((FILTER, 1),)) as connection:
        whole = survey(connection, first.append)
        if whole and args.name and not any(message.topic == f"{FILTER[:-1]}{args.name}" for message in first):
            raise Refused(f"the broker knows no rollout {args.name!r}", "See fleet rollout status")
        while True:
            messages, first = [*first, *connection.drain(0.5)], []
            for message in messages:
                head = ledger.take(message.topic, message.payload)
                if not isinstance(head, Head) or args.name not in ("", head.name):
                    continue
                if args.json:
                    emit(record(head))
                else:
                    for line in lines(head, time.time()):
                        say(screen.clean(line))
                if args.name and head.phase in ENDS:
                    return EXIT_OK if head.phase == "completed" else EXIT_PROBLEM


class Teller:
    """Tells of a rollout that this process carries on: a line where something has changed."""

    def __init__(self, as_json: bool, sight: Sight) -> None:
        self._json, self._sight = as_json, sight
        self._last: object = None

    def hear(self, rollout: Rollout) -> None:
        from edge_runtime.fleet.operator.rollouts.cohort import outcome

        head = rollout.head
        ring = rollout.cohort.ring(head.ring)
        ends = Counter(outcome(touched, self._sight.seen(touched.device)) for touched in ring)
        now = (head.phase, head.ring, head.looks, len(ring), tuple(sorted(ends.items())))
        if now == self._last:
            return
        self._last = now
        if self._json:
            emit(
                record(head)
                | {"touched": len(rollout.cohort.touched), "ring_touched": len(ring), "ring_ends": dict(ends)}
            )
            return
        name = head.plan.rings[head.ring].name
        counts = f"{len(ring)} devices, {ends['done']} have it, {ends['bad']} failed" if ring else ""
        say(f"ring {name}: {PHASES[head.phase]}{': ' if counts else ''}{counts}")

    def conclude(self, head: Head) -> None:
        """The last word, with the way to go on."""
        if self._json:
            emit(record(head) | {"summary": True})
            return
        for line in lines(head, time.time()):
            say(screen.clean(line))
        if head.phase == "halted":
            say(
                f"  go on: edge-runtime fleet rollout resume {head.name}; take it back: fleet rollout abort {head.name}"
            )
        if head.phase == "restored":
            say("  every device is wished back to what it had. Mend the model, publish it as a new version, start anew")
