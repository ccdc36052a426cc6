"""What the gate says of a command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge_runtime.fleet.command_form import Command
from edge_runtime.lifecycle.trust.envelope import Sealed
from edge_runtime.telemetry.messages import Response


class Reason(StrEnum):
    """Why a command is refused: one word for programs."""

    OVERSIZE = "oversize"
    RETAINED = "retained"
    UNTRUSTED = "untrusted"
    """It is no signed envelope of a command."""
    UNSIGNED = "unsigned"
    """No signature, or none of a key that is known here."""
    FORGED = "forged"
    MALFORMED = "malformed"
    UNKNOWN_VERB = "unknown_verb"
    WRONG_VERB = "wrong_verb"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_REPLY_TO = "wrong_reply_to"
    NOT_ALLOWED = "not_allowed"
    """The signer may not ask that of this audience."""
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    TOO_LONG_LIVED = "too_long_lived"
    REPLAYED = "replayed"
    ID_TAKEN = "id_taken"
    """Another command had this id."""
    NOT_KEPT = "not_kept"
    """The disk does not keep that it was taken: it could be replayed after a restart."""
    BUSY = "busy"


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


@dataclass(frozen=True, slots=True)
class Pending:
    """A command with which everything is right but, perhaps, its signature."""

    command: Command
    sealed: Sealed
    topic: str
    digest: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that is to be carried out, once its floor is on the disk."""

    command: Command
    signer: str
    digest: str
