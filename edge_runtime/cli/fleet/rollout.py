"""`fleet rollout`: a model to all devices, ring after ring, judged by figures from the field."""

from __future__ import annotations

import argparse
import secrets
import socket
import time
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, rollout_views
from edge_runtime.cli.output import add_json, add_verb, complain
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, EXIT_TRY_AGAIN, Refused, TryAgain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.rollouts.engine import Rollout
    from edge_runtime.fleet.operator.rollouts.records import Batch, Head
    from edge_runtime.fleet.operator.rollouts.run import Watchtower

READ_S = 180.0
"""For all devices: who sees half of them would overlook other rollouts, and take a share of half for a share of all."""
_EXITS = {"completed": EXIT_OK, "restored": EXIT_PROBLEM, "halted": EXIT_TRY_AGAIN}


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    parser = add_verb(
        verbs,
        "rollout",
        "a model to all devices: canaries first, then shares; halts and takes it back by itself",
        "A rollout writes the signed, retained desired state of each device, ring after ring. Before a ring it gathers\n"
        "figures of the model before; after it, it compares every device with its own past and with devices that were\n"
        "not touched. A gate that fails takes the model back from every device; too little evidence halts it.\n"
        "It may be killed at any moment and resumed, on this computer or another.\n"
        "Exit code: 0 completed (abort: taken back), 1 taken back, 75 halted, or somebody else carries it on.",
        "  edge-runtime fleet rollout start spring --model shelf-occupancy --version 1.2.0\n"
        "  edge-runtime fleet rollout start spring --model shelf-occupancy --version 1.2.0 \\\n"
        "      --rings canary=@canary,10%,100% --soak 3600 --gate accuracy_drop=0.02\n"
        "  edge-runtime fleet rollout status\n"
        "  edge-runtime fleet rollout halt spring\n"
        "  edge-runtime fleet rollout resume spring",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _register_start(kinds)
    for name, summary, act in (
        ("status", "where rollouts are, and what their gates said", rollout_views.status),
        ("watch", "the same, anew at every change", rollout_views.watch),
        ("halt", "stop it where it is; nothing is taken back", _halt),
        ("resume", "go on where it was: after a kill, after a halt, or in place of another operator", _resume),
        ("abort", "take the model back from every device that it has touched", _abort),
    ):
        verb = add_verb(
            kinds, name, summary, summary[0].upper() + summary[1:] + ".", f"  edge-runtime fleet rollout {name} spring"
        )
        if name in ("status", "watch"):
            verb.add_argument("name", metavar="NAME", nargs="?", default="")
        else:
            verb.add_argument("name", metavar="NAME")
        place.add_fleet(verb, signs=True)
        add_json(verb)
        verb.set_defaults(act=act)


def _register_start(kinds: Verbs) -> None:
    from edge_runtime.fleet.operator.rollouts.defaults import DEFAULT_RINGS, GATES

    verb = add_verb(
        kinds,
        "start",
        "begin a rollout and carry it through",
        "The devices' own repository must have the model: only its name and version are sent.\n"
        f"Gates and what they bear at most: {', '.join(f'{name}={limit:g}' for name, limit in GATES.items())}.",
        "  edge-runtime fleet rollout start spring --model shelf-occupancy --version 1.2.0 --soak 3600",
    )
    verb.add_argument("name", metavar="NAME", help="of the rollout: letters, digits and . _ -")
    verb.add_argument("--model", required=True, metavar="NAME", help="of the model")
    verb.add_argument("--version", required=True, metavar="VERSION", help="of the model: 1.2.0")
    verb.add_argument("--sha256", default="", metavar="HEX", help="of its bundle, if only that one is meant")
    rings = DEFAULT_RINGS.replace("%", "%%")
    verb.add_argument(
        "--rings", default=DEFAULT_RINGS, metavar="R,R", help=f"devices, shares or canary=@group ({rings})"
    )
    verb.add_argument(
        "--gate", action="append", default=[], metavar="NAME=LIMIT", help="another limit; NAME=off for none"
    )
    verb.add_argument("--pattern", default="", metavar="PATTERN", help="only these devices: 'lyon/*'")
    verb.add_argument("--group", default="", metavar="NAME", help="only the devices of a group")
    _add_times(verb)
    verb.add_argument("--reporting", type=float, default=0.5, metavar="SHARE", help="of a ring, to judge it by (0.5)")
    verb.add_argument("--seed", default="", metavar="TEXT", help="another order of the devices (the rollout's name)")
    place.add_fleet(verb, signs=True)
    add_json(verb)
    verb.set_defaults(act=_start)


def _add_times(verb: argparse.ArgumentParser) -> None:
    from edge_runtime.fleet.operator.rollouts.defaults import DEFAULT_SETTLE_S

    for name, default, text in (
        ("--soak", 1_800.0, "watch a ring for so long at least (1800)"),
        (
            "--settle",
            DEFAULT_SETTLE_S,
            f"a device may take so long to converge, its trial included ({DEFAULT_SETTLE_S:.0f})",
        ),
        ("--patience", 7_200.0, "wait so long for missing evidence (7200)"),
        ("--grace", 120.0, "a device that is away for less is not offline (120)"),
        ("--shadow", None, "instead of [model] shadow_s of the devices"),
        ("--trial", None, "instead of [model] trial_s of the devices"),
    ):
        verb.add_argument(name, type=float, default=default, metavar="S", help=text)


def _start(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.rollouts.engine import Rollout
    from edge_runtime.fleet.operator.rollouts.records import Head, check_name

    plan = rollout_views.plan_of(args)
    check_name(args.name)
    with _Desk(args) as desk:
        if desk.journal.read().head is not None or args.name in desk.tower.ledger.rollouts:
            raise Refused(f"there is a rollout {args.name!r} already", "Resume it, or choose another name")
        rollout_views.check_free(plan, desk.tower)
        now = time.time()
        head = Head(
            name=args.name, plan=plan, generation=1, owner=desk.owner, revision=1, began_at=now, at=now, phase="baseline", since=now
        )  # fmt: skip
        return desk.carry_on(Rollout(head), head, {})


def _halt(args: argparse.Namespace) -> int:
    return _take_over(args, lambda rollout, now: rollout.halted("halted by a person", now), run=False)


def _resume(args: argparse.Namespace) -> int:
    return _take_over(
        args, lambda rollout, now: rollout.resumed(now) if rollout.head.phase == "halted" else rollout.head
    )


def _abort(args: argparse.Namespace) -> int:
    return _take_over(args, lambda rollout, now: rollout.reversed("aborted by a person.", now))


def _take_over(args: argparse.Namespace, change: Callable[[Rollout, float], Head], run: bool = True) -> int:
    """Become the owner of a rollout that there is, with the head that `change` makes."""
    from edge_runtime.fleet.operator.rollouts.engine import Rollout
    from edge_runtime.fleet.operator.rollouts.ledger import merged
    from edge_runtime.fleet.operator.rollouts.records import ENDS, check_name

    check_name(args.name)
    with _Desk(args) as desk:
        ledger = desk.tower.ledger
        refused = ledger.refused.get(desk.topic, "")
        known, remarks = merged(desk.journal.read(), ledger.rollouts.get(args.name), refused)
        for remark in remarks:
            complain(remark)
        assert known.head is not None
        rollout = Rollout(known.head, known.batches.values())
        if known.head.phase == "restored" or (known.head.phase in ENDS and args.act is not _abort):
            complain(f"the rollout {args.name!r} is over; there is nothing to do")
            rollout_views.Teller(args.json, desk.tower.sight).conclude(known.head)
            return _exit_code(known.head, args)
        now = time.time()
        rollout.take(rollout.claimed(desk.owner, now))
        head = change(rollout, now)
        return desk.carry_on(rollout, head, known.batches, run)


class _Desk:
    """An operator at work: connected, with the broker's state read."""

    def __init__(self, args: argparse.Namespace) -> None:
        from edge_runtime.fleet.operator.rollouts.journal import Journal
        from edge_runtime.fleet.operator.rollouts.run import FILTERS, Watchtower
        from edge_runtime.telemetry.topics import ROOT

        self._args = args
        where = place.find_place(args)
        self.signer = where.signer(args.passphrase_file)
        self.tower: Watchtower = Watchtower(where.opener())
        self.journal = Journal(where.state_dir, args.name)
        self.owner = f"{where.reach.name}@{socket.gethostname()}:{secrets.token_hex(4)}"
        self.topic = f"{ROOT}/_rollout/{args.name}"
        self._reach, self._filters = where.reach, FILTERS
        self._connection: Connection | None = None

    def __enter__(self) -> _Desk:
        from edge_runtime.fleet.operator.connection import Connection
        from edge_runtime.fleet.operator.survey import PARTIAL, survey

        self._connection = Connection(self._reach, "rollout", self._filters).__enter__()
        if not survey(self._connection, self.tower.hear, READ_S):
            self._connection.close()
            raise TryAgain(PARTIAL, "Nothing was changed. See whether the broker is overloaded, and try again")
        return self

    def __exit__(self, *ended: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def carry_on(self, rollout: Rollout, head: Head, batches: Mapping[str, Batch], run: bool = True) -> int:
        """Claim it, and carry it through unless `run` is false. Gives the exit code."""
        from edge_runtime.fleet.operator.rollouts.run import RolloutRun

        assert self._connection is not None
        teller = rollout_views.Teller(self._args.json, self.tower.sight)
        work = RolloutRun(self._connection, self.tower, rollout, self.journal, self.signer, teller.hear, complain)
        try:
            work.claim(head, batches)
            last = work.run() if run else rollout.head
        except KeyboardInterrupt:
            complain(f"stopped here; nothing is lost. Go on with: edge-runtime fleet rollout resume {self._args.name}")
            raise
        teller.conclude(last)
        return _exit_code(last, self._args) if run else EXIT_OK


def _exit_code(head: Head, args: argparse.Namespace) -> int:
    """Taken back is what `abort` is for."""
    return EXIT_OK if args.act is _abort and head.phase == "restored" else _EXITS[head.phase]
