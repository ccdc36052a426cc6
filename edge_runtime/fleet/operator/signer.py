"""Who signs what an operator sends, and who says whether the signature of another operator counts."""

from __future__ import annotations

from typing import Protocol

from edge_runtime.fleet.desired import OpenUnsigned
from edge_runtime.lifecycle.trust.envelope import Opened


class Signer(Protocol):
    """An operator's key (`workshop.enrolment.signing.OperatorKey`)."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """The envelope to send. The same payload gives the same bytes, so that sending again changes nothing."""
        ...


class Opener(Protocol):
    """Knows the keys of the fleet's operators (`lifecycle.trust.envelope.EnvelopeVerifier`)."""

    def open(self, envelope: bytes, payload_type: str) -> Opened:
        """Raises errors.Refused for an envelope that no known operator signed for this type."""
        ...


class Unsigned:
    """Signs nothing and believes everybody. For a loopback, whose devices take unsigned commands."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        return payload

    def open(self, envelope: bytes, payload_type: str) -> Opened:
        anybody = OpenUnsigned()
        return anybody.verify(anybody.read(envelope, payload_type))
