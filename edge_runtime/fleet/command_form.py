"""The form of a command: what it says, and what can be told from its text alone. Pure; every quantity has a bound."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.envelope import require_single_keys
from edge_runtime.telemetry.messages import Scalar

MAX_COMMAND_BYTES = 16_384
MAX_ARGS = 64
MAX_NUMBER = float(2**63)
READING = frozenset({"ping", "status", "diagnostics"})
"""Verbs that change nothing: they are carried out even where a disk fails and no floor can be kept."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z")]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command as it is sent. `seq` counts up at the sender: a lower one than its last is a replay."""

    id: Id
    verb: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """`<site>/<device>`, `<site>/_all` or `_group/<name>`."""
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    issued_at: _Seconds
    expires_at: _Seconds
    reply_to: Annotated[str, msgspec.Meta(max_length=240)] = ""
    """Empty for `resp/<verb>`, or a topic below this device's `resp/`."""
    args: Annotated[dict[Annotated[str, msgspec.Meta(max_length=80)], Scalar], msgspec.Meta(max_length=MAX_ARGS)] = {}


def decode_command(payload: bytes) -> Command:
    """Raises Refused for what is no command: another form, a key twice, numbers that are none or too large."""
    try:
        command = msgspec.json.decode(payload, type=Command)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"{fault}") from None
    require_single_keys(payload)
    for name, value in command.args.items():
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise Refused(f"args.{name} is a number beyond all bounds")
    return command
