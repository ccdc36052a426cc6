"""Desired state: what an operator wants one device to be, signed, retained on its own topic, and the gate it passes.

It is a wish and not a command: it names an end (this model, these settings), not a step, so that a device that slept
through five of them takes the newest and none of the others. It does not expire: being late is what it is for. Hence
`seq` alone orders wishes, and a broker that is taken over can hold a device at an old wish, but not take it back to one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.openers import AcceptUnsigned, Opener
from edge_runtime.fleet.session import Incoming
from edge_runtime.lifecycle.floors import EARLIEST_S
from edge_runtime.lifecycle.trust.envelope import DESIRED, Sealed, Unsigned, require_single_keys
from edge_runtime.telemetry.messages import Scalar

VERB = "desired"
"""What a key must be allowed to do."""
MAX_DESIRED_BYTES = 16_384
MAX_KEYS = 64
"""Of `config`."""
LONGEST_S = 2_592_000.0
"""A shadow run or a trial of more than 30 days is a slip of the pen."""

FARTHEST_S = 10 * 365 * 86_400.0
"""A `seq` that counts so far beyond the device's clock would leave no number for whoever wishes after a stolen key was
revoked. So wide, because the clock of a device that has just begun may be years behind."""

_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=LONGEST_S)]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class DesiredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model is to be committed. The device fetches it from its own repository and lets it in on its own terms."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}\Z")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Of the bundle; empty: whichever the repository has under that name and version."""
    shadow_s: _Seconds | None = None
    """None: as the device is configured."""
    trial_s: _Seconds | None = None

    def fits(self, name: str, version: str, sha256: str) -> bool:
        """Whether that bundle is the one that is meant."""
        return (self.name, self.version) == (name, version) and self.sha256 in ("", sha256)


class Desired(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="format", tag="edge-desired/1"
):
    """One wish. What it does not name stays as it is."""

    audience: Annotated[str, msgspec.Meta(min_length=3, max_length=200)]
    """`<site>/<device>`: each device has its own."""
    seq: _Sequence
    """Milliseconds since 1970 when it was wished, and more than the last one's."""
    issued_at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    model: DesiredModel | None = None
    config: Annotated[dict[str, Scalar], msgspec.Meta(max_length=MAX_KEYS)] = {}
    """Dotted key -> value, of those that may be set from afar; null: as in device.toml."""
    rollout: Annotated[str, msgspec.Meta(max_length=120)] = ""
    """Which rollout it belongs to, for people."""


class DesiredReason(StrEnum):
    """Why a wish is not taken: one word for programs."""

    OVERSIZE = "oversize"
    UNTRUSTED = "untrusted"
    MALFORMED = "malformed"
    WRONG_AUDIENCE = "wrong_audience"
    NOT_ALLOWED = "not_allowed"
    REPLAYED = "replayed"
    FROM_THE_FUTURE = "from_the_future"
    BUSY = "busy"
    """Too many to check; it is not judged."""


PASSING = (
    DesiredReason.UNTRUSTED,
    DesiredReason.NOT_ALLOWED,
    DesiredReason.FROM_THE_FUTURE,
    DesiredReason.BUSY,
)
"""Reasons that may be gone later: another key may count then, or the clock may be set."""


@dataclass(frozen=True, slots=True)
class Declined:
    """A wish that is not taken, and why."""

    reason: DesiredReason
    detail: str
    seq: int = 0
    """0 where nobody vouches for it."""
    stranger: bool = False
    """No key that is known here was named: it may be a new operator's."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A wish that is newer than the last one; to be kept before it is acted on."""

    desired: Desired
    signer: str


@dataclass(frozen=True, slots=True)
class Known:
    """The wish that the device has, said once more, as at every connect; or an empty message."""


class Memory(Protocol):
    """What the device has kept (`wish_file.WishFile`)."""

    @property
    def desired(self) -> Desired | None: ...
    @property
    def floor(self) -> int:
        """The highest `seq` that was ever taken; it outlives the wish itself."""
        ...


class OpenUnsigned(AcceptUnsigned):
    """The same, for whoever has been warned already."""

    def __init__(self) -> None:
        pass


def encode_desired(desired: Desired) -> bytes:
    """The payload of an envelope. Raises Refused for one that no device would take."""
    raw = msgspec.json.encode(desired)
    if decode_desired(raw) != desired:
        raise Refused("the desired state does not survive its own encoding", "Numbers must be finite")
    return raw


def decode_desired(payload: bytes) -> Desired:
    """Raises Refused for anything that `encode_desired` would not write."""
    try:
        desired = msgspec.json.decode(payload, type=Desired)
        require_single_keys(payload)
        return desired
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not a desired state: {fault}", "It is edge-desired/1 of this version") from None


class DesiredGate:
    """The rule-keeper: a message in, and whether it is a newer wish for this device.

    Pure but for two digests that it remembers, so that the same retained message at every connect costs no signature.
    """

    def __init__(
        self,
        audience: str,
        opener: Opener,
        memory: Memory,
        allows: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`allows`: whether one more signature may be checked now. `wall`: seconds since 1970."""
        self._audience = audience
        self._opener = opener
        self._memory = memory
        self._allows = allows
        self._wall = wall
        self._taken = b""
        self._declined: tuple[bytes, Declined] | None = None

    def judge(self, message: Incoming) -> Taken | Declined | Known:
        """Retained or not, both will do. An empty message (the retained wish was deleted) says nothing: it is not signed."""
        if not message.payload:
            return Known()
        if len(message.payload) > MAX_DESIRED_BYTES:
            return Declined(DesiredReason.OVERSIZE, f"{len(message.payload)} bytes, at most {MAX_DESIRED_BYTES}")
        digest = hashlib.sha256(message.payload).digest()
        if digest == self._taken:
            return Known()
        if self._declined is not None and self._declined[0] == digest:
            return self._declined[1]
        verdict = self._verdict(message.payload)
        if not isinstance(verdict, Declined):
            self._taken = digest
        elif verdict.reason not in PASSING:
            self._declined = (digest, verdict)
        return verdict

    def _verdict(self, envelope: bytes) -> Taken | Declined | Known:
        """What is cheap comes first: a replay costs no signature."""
        try:
            sealed = self._opener.read(envelope, DESIRED)
        except Refused as fault:
            return Declined(DesiredReason.UNTRUSTED, str(fault), stranger=isinstance(fault, Unsigned))
        try:
            desired = decode_desired(sealed.payload)
        except Refused as fault:
            return Declined(DesiredReason.MALFORMED, str(fault))
        if desired.audience != self._audience:
            return Declined(DesiredReason.WRONG_AUDIENCE, f"it is for {desired.audience!r}")
        return self._order(desired) or self._checked(desired, sealed)

    def _order(self, desired: Desired) -> Declined | Known | None:
        """A wish with the very `seq` of the floor is the kept one, or makes good for one that was lost here."""
        seq, floor, kept = desired.seq, self._memory.floor, self._memory.desired
        if kept == desired:
            return Known()
        ahead_s = seq / 1e3 - max(self._wall(), EARLIEST_S)
        if ahead_s > FARTHEST_S:
            years = ahead_s / (365 * 86_400.0)
            return Declined(DesiredReason.FROM_THE_FUTURE, f"seq is {seq}, {years:.0f} years beyond the device's clock")
        if seq > floor or (seq == floor and kept is None):
            return None
        return Declined(DesiredReason.REPLAYED, f"seq is {seq}, more than {floor} was expected")

    def _checked(self, desired: Desired, sealed: Sealed) -> Taken | Declined:
        if not self._allows():
            return Declined(DesiredReason.BUSY, "more signatures than can be checked")
        try:
            opened = self._opener.verify(sealed)
        except Refused as fault:
            return Declined(DesiredReason.UNTRUSTED, str(fault))
        if not opened.may(VERB, self._audience):
            return Declined(
                DesiredReason.NOT_ALLOWED,
                f"the key {opened.key.name} may not wish for {self._audience}",
                desired.seq,
            )
        return Taken(desired, opened.key.name)
