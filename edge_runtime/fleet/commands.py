"""Commands: what is asked of a device, and the gate that says yes, no, or "that was answered already".

The gate is pure but for its memory: bytes and a time in, a verdict out. It does not act: `handlers` do, between two
frames. It asks the cheap questions first and the signature last, and only what a known key has signed changes anything
in it: strangers can neither raise a floor nor fill the journal.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from edge_runtime.errors import Refused
from edge_runtime.fleet.command_form import MAX_COMMAND_BYTES, Command, decode_command
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.journal import REMEMBERED, CommandJournal, Record
from edge_runtime.fleet.openers import AcceptUnsigned, Opener
from edge_runtime.fleet.rate_limit import RateLimit
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.verdicts import Denied, Pending, Reason, Repeated, Taken
from edge_runtime.lifecycle.trust.command_keys import CommandKey
from edge_runtime.lifecycle.trust.envelope import COMMAND, Sealed, Unsigned
from edge_runtime.telemetry.topics import Topics, segment_fault

__all__ = [
    "MAX_COMMAND_BYTES",
    "REMEMBERED",
    "AcceptUnsigned",
    "Command",
    "CommandGate",
    "Denied",
    "Pending",
    "RateLimit",
    "Reason",
    "Repeated",
    "Taken",
]

MAX_LIFETIME_S = 86_400.0
"""Between issued_at and expires_at: what is older than this can not be replayed even where the floors were lost."""
MAX_SKEW_S = 300.0
"""How far the sender's clock may be ahead of the device's."""


class CommandGate:
    """The rule-keeper. A command raises the floor of its signer only when it is taken, so that one that is refused
    blocks nothing."""

    def __init__(
        self,
        topics: Topics,
        verbs: frozenset[str],
        opener: Opener,
        floors: CommandFloors | None = None,
        journal: CommandJournal | None = None,
    ) -> None:
        self.floors = floors or CommandFloors()
        self.journal = journal or CommandJournal()
        self.roots = topics.audiences
        self._topics = topics
        self._verbs = verbs
        self._opener = opener
        for record in self.journal.records():  # where the floors are lost and the journal is not
            self.floors.rise(record.audience, record.signer, record.seq)

    def judge(self, message: Incoming, now: float) -> Pending | Denied | Repeated:
        """Everything that is cheap. `now`: seconds since 1970. Nothing is changed, whatever comes."""
        asked = message.topic.rpartition("/")[2]
        if len(message.payload) > MAX_COMMAND_BYTES:
            return Denied("", asked, Reason.OVERSIZE, f"{len(message.payload)} bytes, at most {MAX_COMMAND_BYTES}")
        if message.retained:
            return Denied(
                "", asked, Reason.RETAINED, "a retained command would be carried out at every connect; delete it"
            )
        try:
            sealed = self._opener.read(message.payload, COMMAND)
        except Unsigned as fault:
            return Denied("", asked, Reason.UNSIGNED, fault.found)
        except Refused as fault:
            return Denied("", asked, Reason.UNTRUSTED, str(fault))
        try:
            command = decode_command(sealed.payload)
        except Refused as fault:
            return Denied("", asked, Reason.MALFORMED, fault.found)
        return self._judge_command(command, sealed, message.topic, now)

    def _judge_command(self, command: Command, sealed: Sealed, topic: str, now: float) -> Pending | Denied | Repeated:
        digest = hashlib.sha256(sealed.payload).hexdigest()
        known = self.journal.get(command.id)
        if known is not None and known.digest == digest:
            return Repeated(known.response, known.reply_to)
        name = command.id if known is None else ""  # a stranger must not answer for a command that was taken
        fault = self._address_fault(command, topic) or self._time_fault(command, now)
        if fault:
            return Denied(name, topic.rpartition("/")[2], *fault)
        allowed = tuple(claim for claim in sealed.claims if claim.key.may(command.verb, command.audience))
        if not allowed:
            return Denied(name, command.verb, *_not_allowed(command, sealed.claims[0].key))
        fresh = tuple(claim for claim in allowed if command.seq > self._floor(command, claim.key))
        if not fresh and known is None:
            return Denied(command.id, command.verb, *_replayed(command, self._floor(command, allowed[0].key)))
        return Pending(command, replace(sealed, claims=fresh or allowed), topic, digest)

    def open(self, pending: Pending, now: float) -> Taken | Denied | Repeated:
        """Check the signature. What is Taken has raised the floor in memory: `floors.keep`, then act."""
        command = pending.command
        known = self.journal.get(command.id)
        if known is not None and known.digest == pending.digest:
            return Repeated(known.response, known.reply_to)
        try:
            key = self._opener.verify(pending.sealed).key
        except Refused as fault:
            return Denied(command.id if known is None else "", command.verb, Reason.FORGED, fault.found)
        if not key.may(command.verb, command.audience):
            return Denied(command.id, command.verb, *_not_allowed(command, key))
        if known is not None:
            return self._again(command, known)
        wrong = self._time_fault(command, now)
        if not wrong and command.seq <= (floor := self._floor(command, key)):
            wrong = _replayed(command, floor)
        if wrong:
            return Denied(command.id, command.verb, *wrong)
        self.floors.rise(command.audience, key.keyid, command.seq)
        return Taken(command, key.keyid, pending.digest)

    def reply_topic(self, command: Command) -> str:
        return command.reply_to or self._topics.response(command.verb)

    def refusal_topic(self, verb: str) -> str:
        return self._topics.response(verb if not segment_fault(verb) else "invalid")

    @staticmethod
    def _again(command: Command, known: Record) -> Repeated | Denied:
        """The same id with another text: sent again with a new time, or a mistake."""
        if (known.response.verb, known.audience) == (command.verb, command.audience):
            return Repeated(known.response, known.reply_to)
        return Denied(
            command.id, command.verb, Reason.ID_TAKEN, f"a {known.response.verb} had this id; give each its own"
        )

    def _floor(self, command: Command, key: CommandKey) -> int:
        return self.floors.of(command.audience, key.keyid)

    def _address_fault(self, command: Command, topic: str) -> tuple[Reason, str] | None:
        came_by = self.roots.get(command.audience)
        if came_by is None or not topic.startswith(came_by):
            return Reason.WRONG_AUDIENCE, f"it is for {command.audience!r} and came by {topic!r}"
        if topic != came_by + command.verb:
            return Reason.WRONG_VERB, f"it says {command.verb!r} and came by {topic!r}"
        if command.verb not in self._verbs:
            return Reason.UNKNOWN_VERB, f"this device knows {', '.join(sorted(self._verbs))}"
        answers = f"{self._topics.base}/resp/"
        tail = command.reply_to.removeprefix(answers)
        if command.reply_to and (tail == command.reply_to or any(segment_fault(part) for part in tail.split("/"))):
            return Reason.WRONG_REPLY_TO, f"answers go to topics below {answers}"
        return None

    def _time_fault(self, command: Command, wall_s: float) -> tuple[Reason, str] | None:
        """By the wall clock, or by the time floor where the clock stands before it (1970 at boot): what has certainly
        expired stays so, and what is issued after the floor is from the future until the clock is set."""
        now = max(wall_s, self.floors.time_s)
        if now >= command.expires_at:
            return Reason.EXPIRED, f"it expired {now - command.expires_at:.0f} s ago by the device's clock"
        if command.issued_at > now + MAX_SKEW_S:
            return Reason.FROM_THE_FUTURE, f"it is issued {command.issued_at - now:.0f} s ahead of the device's clock"
        if not 0 < command.expires_at - command.issued_at <= MAX_LIFETIME_S:
            return Reason.TOO_LONG_LIVED, f"it must expire within {MAX_LIFETIME_S:.0f} s after issued_at"
        return None


def _not_allowed(command: Command, key: CommandKey) -> tuple[Reason, str]:
    return Reason.NOT_ALLOWED, f"the key {key.name!r} may not ask {command.verb} of {command.audience}"


def _replayed(command: Command, floor: int) -> tuple[Reason, str]:
    return (
        Reason.REPLAYED,
        f"seq is {command.seq}, more than {floor} was expected; count in milliseconds since 1970",
    )
