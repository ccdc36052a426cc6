"""Commands: what is asked of a device, and the gate that says yes, no, or "that was answered already".

The gate is pure: bytes and a time in, a verdict out. It does not act: `handlers` do, between two frames. Everything an
attacker can choose has a bound here.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.messages import Response, Scalar
from edge_runtime.telemetry.topics import EVERYONE, Topics, segment_fault

log = logging.getLogger(__name__)

MAX_COMMAND_BYTES = 16_384
MAX_LIFETIME_S = 86_400.0
"""Between issued_at and expires_at: what is older than this can not be replayed even where the floors were lost."""
MAX_SKEW_S = 300.0
"""How far the sender's clock may be ahead of the device's."""
REMEMBERED = 256
"""Commands whose receipts are kept, so that one that comes again gets the same answer."""


class Reason(StrEnum):
    """Why a command is refused: one word for programs."""

    OVERSIZE = "oversize"
    RETAINED = "retained"
    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"
    UNKNOWN_VERB = "unknown_verb"
    WRONG_VERB = "wrong_verb"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_REPLY_TO = "wrong_reply_to"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    TOO_LONG_LIVED = "too_long_lived"
    REPLAYED = "replayed"
    BUSY = "busy"


Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z")]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command as it is sent. `seq` counts up at the sender: a lower one than the last is a replay."""

    id: Id
    verb: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """`<site>/<device>`, or `<site>/_all`."""
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    issued_at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    expires_at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    reply_to: Annotated[str, msgspec.Meta(max_length=240)] = ""
    """Empty for `resp/<verb>`, or a topic below this device's `resp/`."""
    args: dict[str, Scalar] = {}


class Verifier(Protocol):
    """Says whether the bytes come from someone who may command."""

    def payload(self, envelope: bytes) -> bytes:
        """The command in a verified envelope. Raises errors.Refused for one that can not be trusted."""
        ...


class AcceptUnsigned:
    """Trusts whoever can publish to the broker. For demonstrations on a loopback, and loud about it."""

    def __init__(self) -> None:
        log.warning(
            'commands = "unsigned": whoever may publish to this broker commands this device; '
            'use it on a closed network only, commands = "off" otherwise'
        )

    def payload(self, envelope: bytes) -> bytes:
        return envelope


@dataclass(frozen=True, slots=True)
class Denied:
    """A command that is not carried out, and why."""

    id: str
    verb: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """A command that was taken before: its last receipt, to be sent again."""

    response: Response
    reply_to: str


Verdict = Command | Denied | Repeated


class RateLimit:
    """A token bucket: `per_s` on the long run, `burst` at once. Stands before any parsing."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock = per_s, float(burst), clock
        self._tokens, self._at_s = float(burst), clock()

    def allows(self) -> bool:
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class CommandGate:
    """The rule-keeper. Remembers the receipts of the last REMEMBERED commands; `floors` the highest `seq` of each audience.

    A command raises the floor of its audience only when it is taken, so that one that is refused blocks nothing.
    """

    def __init__(
        self, topics: Topics, verbs: frozenset[str], verifier: Verifier, floors: CommandFloors | None = None
    ) -> None:
        self.floors = floors or CommandFloors()
        self._topics = topics
        self._verbs = verbs
        self._verifier = verifier
        self._audiences = {
            f"{topics.site}/{topics.device}": f"{topics.base}/cmd/",
            f"{topics.site}/{EVERYONE}": f"{topics.command_filters[1][:-1]}",
        }
        self._receipts: OrderedDict[str, Repeated] = OrderedDict()

    def judge(self, message: Incoming, now: float) -> Verdict:
        """`now`: seconds since 1970 by the device's clock. A Command as verdict is taken: `floors.keep`, then act."""
        asked = message.topic.rpartition("/")[2]
        if len(message.payload) > MAX_COMMAND_BYTES:
            return Denied("", asked, Reason.OVERSIZE, f"{len(message.payload)} bytes, at most {MAX_COMMAND_BYTES}")
        try:
            command = msgspec.json.decode(self._verifier.payload(message.payload), type=Command)
        except Refused as fault:
            return Denied("", asked, Reason.UNTRUSTED, str(fault))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return Denied("", asked, Reason.MALFORMED, f"{fault}")
        if message.retained:
            return Denied(
                command.id,
                asked,
                Reason.RETAINED,
                "a retained command would be carried out at every connect; delete it",
            )
        if command.id in self._receipts:
            return self._receipts[command.id]
        fault_found = self._address_fault(command, message.topic) or self._time_fault(command, now)
        if fault_found:
            return Denied(command.id, asked, *fault_found)
        self.floors.rise(command.audience, command.seq)
        return command

    def remember(self, response: Response, reply_to: str) -> None:
        """Keep the newest receipt of a taken command."""
        self._receipts[response.id] = Repeated(response, reply_to)
        self._receipts.move_to_end(response.id)
        while len(self._receipts) > REMEMBERED:
            self._receipts.popitem(last=False)

    def reply_topic(self, command: Command) -> str:
        return command.reply_to or self._topics.response(command.verb)

    def refusal_topic(self, verb: str) -> str:
        return self._topics.response(verb if not segment_fault(verb) else "invalid")

    def _address_fault(self, command: Command, topic: str) -> tuple[Reason, str] | None:
        came_by = self._audiences.get(command.audience)
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

    def _time_fault(self, command: Command, now: float) -> tuple[Reason, str] | None:
        if command.seq <= (floor := self.floors.of(command.audience)):
            return (
                Reason.REPLAYED,
                f"seq is {command.seq}, more than {floor} was expected; count in milliseconds since 1970",
            )
        if now >= command.expires_at:
            return Reason.EXPIRED, f"it expired {now - command.expires_at:.0f} s ago by the device's clock"
        if command.issued_at > now + MAX_SKEW_S:
            return Reason.FROM_THE_FUTURE, f"it is issued {command.issued_at - now:.0f} s ahead of the device's clock"
        if not 0 < command.expires_at - command.issued_at <= MAX_LIFETIME_S:
            return Reason.TOO_LONG_LIVED, f"it must expire within {MAX_LIFETIME_S:.0f} s after issued_at"
        return None
