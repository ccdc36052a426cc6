"""Signed envelopes: DSSE 1.0 (https://github.com/secure-systems-lab/dsse), as much of it as a device needs.

Reading is in two steps, because a signature is dear and everything else is cheap: `read` takes the envelope apart and
says which of the known keys may have signed it, `verify` finds out. What lies in between is for whoever knows what the
payload means, and costs an attacker's message its place before it costs the device anything.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.command_keys import CommandKey, CommandKeys
from edge_runtime.lifecycle.trust.signatures import SIGNATURE_BYTES, is_signed

COMMAND = "application/vnd.edge-runtime.command+json"
DESIRED = "application/vnd.edge-runtime.desired+json"
ROLLOUT = "application/vnd.edge-runtime.rollout+json"

MAX_SIGNATURES = 4
MAX_CHECKS = 2
"""Signatures that are checked for one envelope, at most. Where many keys are known, a signature must name its own."""
_URL_SAFE = str.maketrans("-_", "+/")


class Unsigned(Refused):
    """No signature that could count: none at all, or only of keys that are not known here."""


class Forged(Refused):
    """A signature that names a known key and is not that key's."""


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sig: Annotated[str, msgspec.Meta(max_length=128)]
    keyid: Annotated[str, msgspec.Meta(max_length=128)] = ""


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: str
    payload_type: Annotated[str, msgspec.Meta(max_length=200)] = msgspec.field(name="payloadType")
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(max_length=MAX_SIGNATURES)] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """One signature and the key that would have made it: not checked yet."""

    key: CommandKey
    signature: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope taken apart. Nothing in it is to be believed."""

    payload: bytes
    payload_type: str
    claims: tuple[Claim, ...]

    @property
    def checks(self) -> int:
        """How many signatures it takes to open it, at most; 0 if none is needed."""
        return min(MAX_CHECKS, sum(bool(claim.signature) for claim in self.claims))


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload that one of the keys has signed."""

    payload: bytes
    key: CommandKey

    @property
    def signer(self) -> str:
        """The id of the key."""
        return self.key.keyid

    def may(self, verb: str, audience: str) -> bool:
        """Whether the signer may ask that of them."""
        return self.key.may(verb, audience)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def encode_envelope(payload_type: str, payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """The JSON of an envelope; `signatures` are (keyid, signature over `pae`)."""
    signed = tuple(_Signature(_to_text(signature), keyid) for keyid, signature in signatures)
    return msgspec.json.encode(_Envelope(_to_text(payload), payload_type, signed))


class EnvelopeVerifier:
    """Opens envelopes that one of `keys()` has signed; it is asked anew each time, so that a revoked key ends at once.

    One right signature is enough. A key id is a hint only: it chooses which key is tried, and what counts is the key.
    """

    def __init__(self, keys: Callable[[], CommandKeys]) -> None:
        self._keys = keys

    def open(self, envelope: bytes, payload_type: str) -> Opened:
        """Both steps. Raises Refused (Unsigned, Forged, or for its form)."""
        return self.verify(self.read(envelope, payload_type))

    def read(self, envelope: bytes, payload_type: str) -> Sealed:
        """Take an envelope apart; cheap. Raises Refused for a wrong form or type, Unsigned if no known key is named."""
        found = _decode(envelope)
        if found.payload_type != payload_type:
            raise Refused(f"the payload type is {found.payload_type!r:.120}, {payload_type!r} was expected")
        payload = _from_text(found.payload)
        if not found.signatures:
            raise Unsigned("the envelope has no signature")
        claims = self._claims(found.signatures)
        if not claims:
            raise Unsigned("none of the signatures is of a key that is known here")
        return Sealed(payload, payload_type, claims)

    def verify(self, sealed: Sealed) -> Opened:
        """Check the signatures until one is right; dear. Raises Forged if none is.

        A key that was taken out since `read` does not count any more.
        """
        message = pae(sealed.payload_type, sealed.payload)
        keys = self._keys()
        for claim in sealed.claims[:MAX_CHECKS]:
            current = keys.get(claim.key.keyid)
            if current is not None and is_signed(current.public_bytes, claim.signature, message):
                return Opened(sealed.payload, current)
        raise Forged("no signature is right: the message was changed on its way, or somebody pretends")

    def _claims(self, signatures: Sequence[_Signature]) -> tuple[Claim, ...]:
        """Each pair of a signature and a key once, in order; a signature that names no key may be anybody's."""
        keys = self._keys()
        found: dict[tuple[str, bytes], Claim] = {}
        for each in signatures:
            signature = _from_text(each.sig)
            if len(signature) != SIGNATURE_BYTES:
                raise Refused(f"a signature has {len(signature)} bytes, {SIGNATURE_BYTES} were expected")
            named = keys.get(each.keyid)
            for key in (named,) if named else () if each.keyid else tuple(keys):
                found.setdefault((key.keyid, signature), Claim(key, signature))
        return tuple(found.values())


def require_single_keys(raw: bytes) -> None:
    """Raises Refused for JSON in which an object has a key twice: readers differ in which one they believe.

    For text whose depth is known to be small.
    """
    json.loads(raw, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, object]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise Refused("a key stands twice in one object")


def _decode(envelope: bytes) -> _Envelope:
    try:
        found = msgspec.json.decode(envelope, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"it is no signed envelope: {fault}", "Send it with `edge-runtime fleet send`") from None
    require_single_keys(envelope)
    return found


def _to_text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _from_text(text: str) -> bytes:
    """Base64, standard or URL-safe as DSSE allows, each in its one spelling."""
    standard = text.translate(_URL_SAFE)
    try:
        raw = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError as fault:
        raise Refused(f"what should be base64 is not: {fault}") from None
    if _to_text(raw) != standard:
        raise Refused("what should be base64 is not: bits are set that mean nothing")
    return raw
