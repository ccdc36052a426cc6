"""Writes down what commands do, in order, in a thread of its own: the inference loop does not wait for the disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from edge_runtime.errors import EdgeError

log = logging.getLogger(__name__)

Job = Callable[[], None]


class Scribe(Protocol):
    """Does jobs one after the other, in the order in which they came."""

    def do(self, job: Job) -> None: ...
    def close(self, timeout_s: float) -> None:
        """Wait until what was given is done."""
        ...


class AtOnce:
    """In the thread of whoever asks, before `do` returns."""

    def do(self, job: Job) -> None:
        job()

    def close(self, timeout_s: float) -> None:
        pass


class InTurn:
    """In one thread, which begins with the first job. It can not fall behind: those who may command are rate-limited."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def do(self, job: Job) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="command-scribe", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def close(self, timeout_s: float) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except EdgeError as fault:  # the next one has no part in it
                log.warning("%s", fault)
