"""Who may speak to a device: those whose signature counts (`lifecycle.trust.envelope.EnvelopeVerifier`), or everybody."""

from __future__ import annotations

import logging
from typing import Protocol

from edge_runtime.lifecycle.trust.command_keys import KEYID_DIGITS, CommandKey
from edge_runtime.lifecycle.trust.envelope import Claim, Opened, Sealed

log = logging.getLogger(__name__)


class Opener(Protocol):
    """Says whether an envelope comes from someone who may command (`lifecycle.trust.envelope.EnvelopeVerifier`)."""

    def read(self, envelope: bytes, payload_type: str) -> Sealed:
        """Take it apart; cheap. Raises errors.Refused for what can not be trusted in any case."""
        ...

    def verify(self, sealed: Sealed) -> Opened:
        """Check who signed it; dear. Raises errors.Refused."""
        ...


_NOBODY = CommandKey(keyid="0" * KEYID_DIGITS, name="nobody", public="0" * 64)


class AcceptUnsigned:
    """Trusts whoever can publish to the broker. For demonstrations on a loopback, and loud about it."""

    def __init__(self) -> None:
        log.warning(
            'commands = "unsigned": whoever may publish to this broker commands this device; '
            'use it on a closed network only, commands = "off" otherwise'
        )

    def read(self, envelope: bytes, payload_type: str) -> Sealed:
        return Sealed(envelope, payload_type, (Claim(_NOBODY, b""),))

    def verify(self, sealed: Sealed) -> Opened:
        return Opened(sealed.payload, _NOBODY)
