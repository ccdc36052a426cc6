"""How the link is: the values that it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge_runtime.fleet.backoff import Cause

WARN_DAYS = 21.0
"""So long before the device's own certificate ends, it is a problem."""


class LinkState(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    """Between two attempts."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkReport:
    """For status, health and metrics."""

    state: LinkState
    cause: Cause
    problems: tuple[str, ...]
    """What a person must mend, the connection first, as sentences."""
    connections: int
    last_error: str
    """Why the newest connection ended or did not come about; stays until the next."""
    address: str
    """The broker's node that it is connected to, or tries next."""
    protocol: str
    """`3.1.1` or `5`; empty before the first connection."""
    receipts: str
    unconfirmed: int
    """Records that the broker has acknowledged and nothing has proven yet."""
    certificate_days: float | None
    """Until the device's own certificate ends; None without one."""


def refused_problem(filters: tuple[str, ...]) -> str:
    """Of filters that the broker does not let the device subscribe to."""
    names = ", ".join(map(repr, filters))
    return f"the broker does not let this device subscribe to {names}; check its access list"


def certificate_problem(cert_file: object, days: float | None) -> str:
    """Of a device's own certificate with so many days left; empty while there are enough."""
    if days is None or days >= WARN_DAYS:
        return ""
    ends = f"ends in {days:.0f} days" if days >= 0 else f"ended {-days:.0f} days ago"
    return f"the device's certificate {cert_file} {ends}. Renew it; it is read at connect"
