"""Sends errands out of the daemon: one at a time, in a child process, asked after between two frames."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from edge_runtime.daemon.errand import MAX_SAID_BYTES, Errand, Outcome
from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.messages import Scalar

log = logging.getLogger(__name__)

LIMIT_S = {"install": 3600.0, "update": 4200.0, "activate": 600.0, "commit": 60.0, "release": 60.0, "keys": 600.0}
"""After which an errand is given up: a slow line may take long for a download."""
_MODULE = "edge_runtime.daemon.errand"
_ROOT = Path(__file__).resolve().parents[2]


class Job(Protocol):
    """An errand on its way (`fleet.command_queue.Later`)."""

    @property
    def ended(self) -> bool: ...
    def outcome(self) -> dict[str, Scalar] | None:
        """None while it runs; then its result, again and again. Raises the error that ended it."""
        ...

    def abandon(self) -> None:
        """End it at once."""
        ...


Start = Callable[[Errand], Job]
"""Begins an errand. Raises TryAgain if that can not be."""


class ErrandRunner:
    """At most one errand at a time. Owned by the inference loop."""

    def __init__(self, start: Start | None = None) -> None:
        self._start = start or start_child
        self._job: Job | None = None
        self.doing = ""
        """The verb of the errand that runs; empty if none does."""

    def send(self, errand: Errand) -> Job:
        """Raises TryAgain while another runs."""
        self.look()
        if self._job is not None:
            raise TryAgain(f"the device is busy with model.{self.doing}", "Ask again when that is done")
        self._job, self.doing = self._start(errand), errand.verb
        return self._job

    def look(self) -> None:
        """Notice that the errand has ended; cheap."""
        if self._job is not None and self._job.ended:
            self._job, self.doing = None, ""

    def stop(self) -> None:
        """The daemon ends: so does the errand. What it had fetched is gone on with the next time."""
        if self._job is not None:
            self._job.abandon()
        self._job, self.doing = None, ""


def start_child(errand: Errand) -> Job:
    """In this process's environment: a device may need a proxy. Raises TryAgain if no process can be started."""
    command = [sys.executable, "-E", "-s", "-m", _MODULE, str(os.getpid())]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT, start_new_session=True
        )
    except OSError as fault:
        raise TryAgain(f"no process could be started for model.{errand.verb}: {fault.strerror}", "Try again") from None
    assert child.stdin is not None
    with child.stdin as to_child:
        to_child.write(msgspec.json.encode(errand))
    return ChildJob(child, errand.verb, time.monotonic() + LIMIT_S[errand.verb])


class ChildJob:
    """An errand in a child process. Its last word is shorter than a pipe holds, so it need not be read before the end."""

    def __init__(self, child: subprocess.Popen[bytes], verb: str, deadline_s: float) -> None:
        self._child = child
        self._verb = verb
        self._deadline_s = deadline_s
        self._outcome: Outcome | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over; one that takes too long is over too."""
        if self._outcome is None:
            late = time.monotonic() > self._deadline_s
            if self._child.poll() is None and not late:
                return False
            self._outcome = self._end(late)
        return True

    def outcome(self) -> dict[str, Scalar] | None:
        """None while it runs. Raises what ended it."""
        return self._outcome.unwrap() if self.ended and self._outcome is not None else None

    def abandon(self) -> None:
        """Kill the child; whoever still asks hears that it was given up."""
        if self._outcome is None:
            self._outcome = self._end(late=False)

    def _end(self, late: bool) -> Outcome:
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        with self._child.stdout as out:
            said = out.read(MAX_SAID_BYTES)
        try:
            return msgspec.json.decode(said, type=Outcome)
        except msgspec.DecodeError:
            took = "took too long" if late else f"ended without a word (code {self._child.returncode})"
            return Outcome({}, TryAgain.__name__, f"model.{self._verb} {took}", "The device's log says more; try again")
