"""The device looks for a newer release of its model by itself, where device.toml asks for that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge_runtime.daemon.errand import Errand
from edge_runtime.daemon.errand_runner import ErrandRunner, Job
from edge_runtime.errors import EdgeError, TryAgain

log = logging.getLogger(__name__)

FIRST_S = 60.0
"""After the start: the camera first."""


class AutoUpdate:
    """Owned by the inference loop, which calls `attend` on every turn."""

    def __init__(
        self, errands: ErrandRunner, errand: Errand, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._errands = errands
        self._errand = errand
        self._interval_s = interval_s
        self._clock = clock
        self._due_s = clock() + min(FIRST_S, interval_s)
        self._job: Job | None = None
        self.trouble = ""
        """Why the last look failed; empty once one goes through. Inference does not depend on it."""

    def attend(self) -> None:
        """Look if it is time; hear what came of the last look."""
        if self._job is not None and self._job.ended:
            self._hear(self._job)
            self._job = None
        if self._job is None and self._clock() >= self._due_s:
            self._due_s = self._clock() + self._interval_s
            self._send()

    def _send(self) -> None:
        try:
            self._job = self._errands.send(self._errand)
        except TryAgain as fault:
            log.info("no look for a new model now: %s", fault)

    def _hear(self, job: Job) -> None:
        try:
            found = job.outcome() or {}
        except EdgeError as fault:
            self.trouble = f"looking for a new model failed: {fault}"
            log.warning("%s", self.trouble)
            return
        self.trouble = ""
        if found.get("version"):
            log.info("%s %s is new: %s", found["name"], found["version"], found.get("phase", ""))
