"""How long to wait before the next attempt to connect, by what went wrong with the last one."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Cause(StrEnum):
    """Why there is no connection."""

    NONE = "none"
    STOPPED = "stopped"
    LOST = "lost"
    """It was there, and went."""
    UNREACHABLE = "unreachable"
    """No such host, nothing listens, or no route."""
    SILENT = "silent"
    """Something listens, but does not speak MQTT in time."""
    BUSY = "busy"
    """The broker says that it is not available."""
    DENIED = "denied"
    """Wrong user, password or certificate, or not allowed: waiting does not mend it, a person does."""
    TLS = "tls"
    """A certificate can not be trusted, the broker's or the device's own, or TLS can not be agreed on."""
    TAKEN = "taken"
    """Another client came with the same client id, and the broker keeps the newer one: two devices with one name."""
    CREDENTIALS = "credentials"
    """A file with a password, key or certificate can not be read."""


_FIRST_AND_CAP_S = {
    Cause.LOST: (0.5, 60.0),
    Cause.UNREACHABLE: (1.0, 60.0),
    Cause.SILENT: (2.0, 120.0),
    Cause.BUSY: (5.0, 300.0),
    Cause.DENIED: (15.0, 600.0),
    Cause.TLS: (15.0, 600.0),
    Cause.CREDENTIALS: (5.0, 120.0),
    Cause.TAKEN: (30.0, 900.0),
}
LEAST_S = 0.05


def delay_s(cause: Cause, attempt: int, chance: Callable[[], float]) -> float:
    """Seconds to wait after the `attempt`-th failure in a row (from 1): full jitter under a doubling ceiling.

    `chance` gives numbers in [0, 1). Full jitter after M. Brooker, "Exponential Backoff and Jitter" (2015): it spreads
    the devices of a store that all lost the broker in the same second.
    """
    first_s, cap_s = _FIRST_AND_CAP_S.get(cause, (1.0, 60.0))
    ceiling_s = min(cap_s, first_s * 2.0 ** min(max(attempt, 1) - 1, 16))
    return max(LEAST_S, chance() * ceiling_s)
