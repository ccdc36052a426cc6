"""Desired state: what an operator wants one device to be, signed, retained on its own topic, and the gate it passes.

It is a wish and not a command: it names an end (this model, these settings), not a step, so that a device that slept
through five of them takes the newest and none of the others. It does not expire: being late is what it is for. Hence
`seq` alone orders wishes, and a broker that is taken over can hold a device at an old wish, but not take it back to one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.messages import Scalar

VERB = "desired"
"""What a key must be allowed to do."""
MAX_DESIRED_BYTES = 16_384
MAX_KEYS = 64
"""Of `config`."""
LONGEST_S = 2_592_000.0
"""A shadow run or a trial of more than 30 days is a slip of the pen."""

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


@dataclass(frozen=True, slots=True)
class Declined:
    """A wish that is not taken, and why."""

    reason: DesiredReason
    detail: str
    seq: int = 0
    """0 where it could not be read."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A wish that is newer than the last one; to be kept before it is acted on."""

    desired: Desired
    signer: str


@dataclass(frozen=True, slots=True)
class Known:
    """The wish that the device has, said once more, as at every connect; or an empty message."""


class Memory(Protocol):
    """What the device has kept (`convergence_file.WishFile`)."""

    @property
    def desired(self) -> Desired | None: ...
    @property
    def floor(self) -> int:
        """The highest `seq` that was ever taken; it outlives the wish itself."""
        ...


class Signed(Protocol):
    """What an envelope holds (`lifecycle.trust.envelope.Opened`)."""

    @property
    def payload(self) -> bytes: ...
    @property
    def signer(self) -> str: ...
    def may(self, verb: str, audience: str) -> bool: ...


class Opener(Protocol):
    """Says whether an envelope comes from someone who may wish (`lifecycle.trust.envelope.EnvelopeVerifier`)."""

    def open(self, envelope: bytes, payload_type: str) -> Signed:
        """Raises errors.Refused for what can not be trusted."""
        ...


@dataclass(frozen=True, slots=True)
class Anonymous:
    """What nobody signed."""

    payload: bytes
    signer: str = "nobody"

    def may(self, verb: str, audience: str) -> bool:
        return True


class OpenUnsigned:
    """Trusts whoever can publish to the broker. For demonstrations on a loopback."""

    def open(self, envelope: bytes, payload_type: str) -> Signed:
        return Anonymous(envelope)


def encode_desired(desired: Desired) -> bytes:
    """The payload of an envelope. Raises Refused for one that no device would take."""
    raw = msgspec.json.encode(desired)
    if decode_desired(raw) != desired:
        raise Refused("the desired state does not survive its own encoding", "Numbers must be finite")
    return raw


def decode_desired(payload: bytes) -> Desired:
    """Raises Refused for anything that `encode_desired` would not write."""
    try:
        return msgspec.json.decode(payload, type=Desired)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not a desired state: {fault}", "It is edge-desired/1 of this version") from None


class DesiredGate:
    """The rule-keeper: a message in, and whether it is a newer wish for this device.

    Pure but for two digests that it remembers, so that the same retained message at every connect costs no signature.
    """

    def __init__(self, audience: str, opener: Opener, payload_type: str, memory: Memory) -> None:
        self._audience = audience
        self._opener = opener
        self._payload_type = payload_type
        self._memory = memory
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
        if isinstance(verdict, Declined):
            self._declined = (digest, verdict)
        else:
            self._taken = digest
        return verdict

    def _verdict(self, envelope: bytes) -> Taken | Declined | Known:
        try:
            opened = self._opener.open(envelope, self._payload_type)
        except Refused as fault:
            return Declined(DesiredReason.UNTRUSTED, str(fault))
        try:
            desired = decode_desired(opened.payload)
        except Refused as fault:
            return Declined(DesiredReason.MALFORMED, str(fault))
        if desired.audience != self._audience:
            return Declined(DesiredReason.WRONG_AUDIENCE, f"it is for {desired.audience!r}", desired.seq)
        if not opened.may(VERB, self._audience):
            return Declined(
                DesiredReason.NOT_ALLOWED, f"{opened.signer} may not wish for {self._audience}", desired.seq
            )
        return self._order(Taken(desired, opened.signer))

    def _order(self, taken: Taken) -> Taken | Declined | Known:
        """A wish with the very `seq` of the floor is the kept one, or makes good for one that was lost here."""
        seq, floor, kept = taken.desired.seq, self._memory.floor, self._memory.desired
        if seq > floor or (seq == floor and kept is None):
            return taken
        if kept == taken.desired:
            return Known()
        return Declined(DesiredReason.REPLAYED, f"seq is {seq}, more than {floor} was expected", seq)
