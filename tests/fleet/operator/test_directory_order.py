"""A reader who comes while devices speak hears some of it twice: live, and then as the broker had kept it before."""

from __future__ import annotations

from edge_runtime.fleet.operator.directory import Directory
from edge_runtime.telemetry.messages import Availability, Reported, encode

BASE = "edge/v1/lyon/dev-1/"


def said(state: str, at: float, session: int = 1) -> bytes:
    return encode(Reported(site="lyon", device="dev-1", session=session, at=at, seq=10, state=state))  # type: ignore[arg-type]


def state_of(directory: Directory) -> str:
    device = directory.get("lyon/dev-1")
    assert device is not None and device.reported is not None
    return device.reported.state


def test_what_was_kept_does_not_hide_what_was_said_since() -> None:
    directory = Directory()
    directory.take(BASE + "reported", said("converged", 20.0), False, 100.0)
    directory.take(BASE + "reported", said("converging", 10.0), True, 100.1)
    assert state_of(directory) == "converged"
    directory.take(BASE + "reported", said("failed", 5.0, session=2), True, 100.2)
    assert state_of(directory) == "failed", "a later session is later, whatever its clock says"
    directory.take(BASE + "reported", said("converged", 1.0, session=2), False, 100.3)
    assert state_of(directory) == "converged", "a clock that is set back hides nothing that is said now"


def test_a_will_names_the_time_of_its_connection_and_counts() -> None:
    directory = Directory()

    def availability(state: str, at: float) -> bytes:
        reason = "connected" if state == "online" else "lost"
        return encode(
            Availability(site="lyon", device="dev-1", session=1, at=at, state=state, reason=reason, connection=1)  # type: ignore[arg-type]
        )

    directory.take(BASE + "availability", availability("online", 10.5), False, 100.0)
    directory.take(BASE + "availability", availability("offline", 10.0), True, 160.0)
    device = directory.get("lyon/dev-1")
    assert device is not None and not device.online
