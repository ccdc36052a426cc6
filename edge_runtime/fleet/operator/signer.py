"""Who signs what an operator sends. Who says whether a signature counts is `fleet.desired.Opener`."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """An operator's key (`workshop.enrolment.signing.OperatorKey`)."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """The envelope to send. The same payload gives the same bytes, so that sending again changes nothing."""
        ...


class Unsigned:
    """Signs nothing. For a loopback, whose devices take unsigned commands."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        return payload
