"""Keeps the command keys of a device fresh: sends for them when that is due, and says when there are none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_runtime.daemon.errand import Errand
from edge_runtime.daemon.errand_runner import Job
from edge_runtime.errors import EdgeError, TryAgain
from edge_runtime.lifecycle.trust.key_refresh import KeyRefresh
from edge_runtime.lifecycle.trust.key_ring import KeyRing

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon

log = logging.getLogger(__name__)


LOOK_S = 5.0
"""Between two looks at the key files."""


class KeyWatch:
    """Owned by the inference loop."""

    def __init__(
        self,
        ring: KeyRing,
        strangers: Callable[[], int],
        refresh: KeyRefresh | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`strangers`: how many messages named a key that is not known here, so far."""
        self.ring = ring
        self._strangers = strangers
        self._refresh = refresh or KeyRefresh()
        self._job: Job | None = None
        self._clock = clock
        self._look_s = float("-inf")

    def attend(self, daemon: Daemon) -> None:
        """Hear what came of the last look; begin the next. A device without a repository has its pinned keys alone."""
        if self._clock() - self._look_s >= LOOK_S:  # so that `problem` is known before the first command comes
            self._look_s = self._clock()
            self.ring.keys()
        if self._job is not None and self._job.ended:
            job, self._job = self._job, None
            self._hear(job)
        place = daemon.parts.place
        if self._job is None and place.repository and self._refresh.due(self.ring.wanting, self._strangers()):
            try:
                self._job = daemon.parts.errands.send(Errand(place, "keys"))
            except TryAgain:
                return  # something else goes on; the next turn asks again
            self._refresh.began()

    @property
    def trouble(self) -> str:
        """Why nobody can command this device, with the mend; empty if somebody can."""
        if not self.ring.problem:
            return ""
        return f"commands: {self.ring.problem}; every command is refused"

    def _hear(self, job: Job) -> None:
        try:
            found = job.outcome() or {}
        except EdgeError as fault:
            self._refresh.failed()
            log.info("the command keys can not be renewed: %s", fault)
            return
        if found.get("changed"):
            log.info("command keys renewed")
            self._look_s = float("-inf")
