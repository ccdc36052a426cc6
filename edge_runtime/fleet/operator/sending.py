"""Sending commands and gathering the receipts. Pure: times and receipts in, what to publish and what became of it out.

A command is signed once. What is sent again is the same bytes: a device that had it answers again and does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from edge_runtime.errors import Refused, Usage
from edge_runtime.fleet.command_form import MAX_COMMAND_BYTES, Command, decode_command
from edge_runtime.fleet.commands import MAX_LIFETIME_S
from edge_runtime.fleet.operator.signer import Signer
from edge_runtime.fleet.operator.views import ResponseView
from edge_runtime.lifecycle.trust.envelope import COMMAND
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.topics import ROOT, segment_fault

FINAL = ("succeeded", "failed", "refused")
AGAIN_S = (2.0, 4.0, 8.0, 15.0)
"""Between two sendings to a device that has not said a word."""
AT_WORK_S = 30.0
"""To one that has accepted: only to hear how far it is."""
BUSY = "busy"
"""A refusal that is about the moment: the command was not taken, and may be sent again."""
STRANGER = "unsigned"
"""A device that does not know the key says so without the command's id: nobody vouches for that."""
RANKS = {"": 0, "accepted": 1, "running": 2, "succeeded": 3, "failed": 3, "refused": 3}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, before it has an audience."""

    id: str
    verb: str
    args: Mapping[str, Scalar]
    at: float
    """Seconds since 1970; `seq` is the same in milliseconds."""
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """One signed command, and the devices that are to answer it."""

    audience: str
    topic: str
    envelope: bytes
    expires_at: float
    devices: tuple[str, ...]


@dataclass(slots=True)
class Answer:
    """What one device has said so far."""

    state: str = ""
    """Empty: nothing; else as in the receipt."""
    reason: str = ""
    detail: str = ""
    result: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        return self.state in FINAL and self.reason != BUSY


def topic_of(audience: str, verb: str) -> str:
    """Where a command for this audience goes. Raises Usage for an audience that is none."""
    place, _, name = audience.partition("/")
    ok = (place == "_group" or not segment_fault(place)) and (name == "_all" or not segment_fault(name))
    if not ok or segment_fault(verb):
        raise Usage(
            f"{audience!r} {verb!r} is no target and verb", "Name site/device, site/_all, _group/name, or a pattern"
        )
    return f"{ROOT}/{audience}/cmd/{verb}"


def sign(request: Request, audience: str, devices: Iterable[str], signer: Signer) -> Order:
    """The signed command for one audience. Raises Usage for one that no device would take."""
    if not 1.0 <= request.lifetime_s <= MAX_LIFETIME_S:
        raise Usage(f"a command lives for 1 to {MAX_LIFETIME_S:.0f} s, not {request.lifetime_s:.0f}")
    expires_at = round(request.at + request.lifetime_s, 3)
    command = Command(
        request.id, request.verb, audience, int(request.at * 1e3), request.at, expires_at, "", dict(request.args)
    )
    raw = msgspec.json.encode(command)
    try:
        decode_command(raw)
    except Refused as fault:
        raise Usage(f"no device would take this command: {fault}") from None
    envelope = signer.sign(COMMAND, raw)
    if len(envelope) > MAX_COMMAND_BYTES:
        raise Usage(f"the command has {len(envelope)} bytes, devices take {MAX_COMMAND_BYTES}", "Send less in it")
    return Order(audience, topic_of(audience, request.verb), envelope, expires_at, tuple(sorted(devices)))


class Sending:
    """Orders under way. Call `due`, publish what it gives, feed receipts to `heard`, until `done`."""

    def __init__(self, request_id: str, orders: Sequence[Order]) -> None:
        self._id = request_id
        self._orders = tuple(orders)
        self._next_s = [0.0] * len(self._orders)
        self._times = [0] * len(self._orders)
        self.answers: dict[str, Answer] = {device: Answer() for order in orders for device in order.devices}

    @property
    def done(self) -> bool:
        """Everybody who was expected has given a last answer."""
        return bool(self.answers) and all(answer.final for answer in self.answers.values())

    def due(self, now: float, most: int) -> list[Order]:
        """At most `most` orders that are to be published at `now`; an expired one never is."""
        found: list[Order] = []
        for number, order in enumerate(self._orders):
            if len(found) == most:
                break
            if now < self._next_s[number] or now >= order.expires_at or self._settled(order):
                continue
            silent = any(not self.answers[device].state for device in order.devices) or not order.devices
            pause = AGAIN_S[min(self._times[number], len(AGAIN_S) - 1)] if silent else AT_WORK_S
            self._next_s[number] = now + pause
            self._times[number] += 1
            found.append(order)
        return found

    def heard(self, device: str, response: ResponseView) -> bool:
        """A receipt; whether it says anything new. One from a device that nobody expected counts as well."""
        if not response.id and response.reason == STRANGER and device in self.answers:
            self._shrugged(self.answers[device], response)
            return False
        if response.id != self._id or response.state not in RANKS:
            return False
        known = self.answers.get(device)
        if known is None:
            known = self.answers[device] = Answer()
        if known.final or (RANKS[response.state] <= RANKS[known.state] and known.reason != BUSY):
            return False
        known.state, known.reason = response.state, response.reason
        known.detail, known.result = response.detail, response.result
        return True

    def _shrugged(self, answer: Answer, response: ResponseView) -> None:
        """It may be about somebody else's command, for it has no name: it ends nothing, and explains a silence."""
        if not answer.state:
            answer.reason, answer.detail = response.reason, response.detail

    def _settled(self, order: Order) -> bool:
        return bool(order.devices) and all(self.answers[device].final for device in order.devices)
