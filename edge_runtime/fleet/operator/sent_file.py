"""Commands that were sent, on the disk before they go: sending an id again sends the very same bytes."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.fleet.operator.sending import Order
from edge_runtime.telemetry.messages import Scalar

FORMAT = "edge-sent/1"


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    audience: str
    topic: str
    envelope: str
    expires_at: float
    devices: tuple[str, ...]


class _Sent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    id: str
    target: str
    verb: str
    args: dict[str, Scalar]
    orders: tuple[_Line, ...]


def keep(folder: Path, name: str, target: str, verb: str, args: dict[str, Scalar], orders: tuple[Order, ...]) -> None:
    """Write what is about to be sent, fsynced. Raises Unavailable if the disk does not take it."""
    lines = tuple(
        _Line(o.audience, o.topic, base64.b64encode(o.envelope).decode(), o.expires_at, o.devices) for o in orders
    )
    raw = msgspec.json.encode(_Sent(FORMAT, name, target, verb, args, lines))
    path = folder / "sent" / f"{name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as fault:
        raise Unavailable(
            f"{path} can not be written: {fault.strerror}", "Make room, or name another --fleet"
        ) from None


def sent_before(folder: Path, name: str, target: str, verb: str, args: dict[str, Scalar]) -> tuple[Order, ...] | None:
    """The orders that were sent under this id, None if it is a new one. Raises Refused if it was another command."""
    path = folder / "sent" / f"{name}.json"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}") from None
    try:
        found = msgspec.json.decode(raw, type=_Sent)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Refused(
            f"{path} is damaged: {fault}", "Choose another --id, and look whether the command was done"
        ) from None
    if (found.target, found.verb, found.args) != (target, verb, args):
        raise Refused(f"the id {name!r} was used for {found.target} {found.verb} {found.args}", "Choose another --id")
    return tuple(
        Order(line.audience, line.topic, base64.b64decode(line.envelope), line.expires_at, line.devices)
        for line in found.orders
    )
