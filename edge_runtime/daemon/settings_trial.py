"""Whether a device is well under settings that were set from afar: no worse than before, for long enough."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from edge_runtime.daemon.overlay import Overlay
from edge_runtime.telemetry.builders import Health

WATCH_S = 20.0
"""Longer than a silent camera takes to count as lost."""
LIMIT_S = 180.0
"""By then the device is well, or the settings are taken back."""
_SUBJECT = re.compile(r"^(camera [^:]+|[a-z ]+):")


class SettingsTrial:
    """Begins with the daemon that runs under the settings. Owned by the inference loop."""

    def __init__(self, overlay: Overlay, clock: Callable[[], float] = time.monotonic) -> None:
        self._overlay = overlay
        self._clock = clock
        self._generation = overlay.generation
        self._began_s = clock()

    @property
    def stale(self) -> bool:
        """Other settings are in force than those this daemon was built under: it is to be built anew."""
        return self._overlay.generation != self._generation

    def attend(self, health: Callable[[], Health]) -> None:
        """Judge, if there is something on trial."""
        trial, age_s = self._overlay.trial, self._clock() - self._began_s
        if trial is None or self.stale or age_s < WATCH_S:
            return
        now = health()
        worse = new_troubles(trial.reasons, now.reasons)
        if not worse and now.state != "starting":
            self._overlay.prove()
        elif age_s >= LIMIT_S:
            self._overlay.take_back("; ".join(worse) or "the device did not come up under them")


def new_troubles(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    """Reasons of now about subjects (a camera, the broker, the spool ...) with which nothing was wrong before."""
    known = {_subject(reason) for reason in before}
    return tuple(reason for reason in now if _subject(reason) not in known)


def _subject(reason: str) -> str:
    found = _SUBJECT.match(reason)
    return found[1] if found else reason
