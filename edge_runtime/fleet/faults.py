"""Why a connection did not come about, or ended: the broker's reason codes as causes and sentences."""

from __future__ import annotations

from edge_runtime.errors import EdgeError
from edge_runtime.fleet.backoff import Cause

NOT_AUTHORIZED, TAKEN_OVER, UNSUPPORTED_VERSION = 0x87, 0x8E, 0x84
NO_SUBSCRIBERS = 0x10
MOVED = (0x9C, 0x9D)
NEVER = frozenset({NOT_AUTHORIZED, 0x90, 0x99})
"""Of a PUBACK: not authorized, topic name or payload form invalid. The same message has no better luck in a moment."""

_DENIED = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
"""MQTT 5 reason codes (paho maps those of 3.1.1 onto them): protocol, client id, password, not authorized, banned, method."""
_BUSY = frozenset({0x88, 0x89, 0x8F, 0x97, 0x98, 0x9C, 0x9D, 0x9F})
_TWINS = "Give each device a [device] id of its own; a copied SD card has the id of its original"


class ConnectFault(EdgeError):
    """The connection did not come about, or ended; `cause` says how long to wait."""

    def __init__(self, cause: Cause, found: str, mend: str = "", old_broker: bool = False, moved_to: str = "") -> None:
        super().__init__(found, mend)
        self.cause = cause
        self.old_broker = old_broker
        """It may be a broker that does not know MQTT 5."""
        self.moved_to = moved_to
        """Where the broker sends its clients, as it said it; empty if it said nothing."""


def refusal(place: str, user: str, code: int, text: str, moved_to: str = "") -> ConnectFault:
    """What a CONNACK that is not 0 means."""
    if code == UNSUPPORTED_VERSION:
        return ConnectFault(
            Cause.DENIED,
            f"the broker at {place} does not speak this version of MQTT",
            'Write [mqtt] protocol = "auto"',
            old_broker=True,
        )
    if code in _DENIED:
        return ConnectFault(
            Cause.DENIED,
            f"the broker at {place} refused user {user or '(none)'!r}: {text}",
            "Check [mqtt] username, password_file and the certificate files",
        )
    if code in MOVED:
        return _moved(place, moved_to)
    return ConnectFault(Cause.BUSY, f"the broker at {place} refused the connection: {text}")


def ending(place: str, client_id: str, code: int, text: str, moved_to: str = "") -> ConnectFault:
    """What a DISCONNECT of the broker (MQTT 5), or the end without one, means."""
    if code == TAKEN_OVER:
        return taken(place, client_id)
    if code in MOVED:
        return _moved(place, moved_to)
    said = f"the connection to {place} was lost: {text}"
    if code in _DENIED:
        return ConnectFault(
            Cause.DENIED, said, "The broker's access list forbids something that this device says or asks for"
        )
    return ConnectFault(Cause.BUSY if code in _BUSY else Cause.LOST, said)


def taken(place: str, client_id: str) -> ConnectFault:
    """Two clients with one id."""
    found = f"another client took over the session {client_id!r} at {place}: two devices have the same name"
    return ConnectFault(Cause.TAKEN, found, _TWINS)


def _moved(place: str, moved_to: str) -> ConnectFault:
    where = f"to {moved_to!r}" if moved_to else "elsewhere"
    found = f"the broker at {place} sends this device {where}"
    return ConnectFault(Cause.BUSY, found, "Add that place to [mqtt] url", moved_to=moved_to)
