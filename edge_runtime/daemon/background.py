"""One piece of work at a time in a thread, asked after between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edge_runtime.errors import EdgeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What came of a piece of work: a result or a fault."""

    key: str
    result: T | None
    fault: EdgeError | None


class Background(Generic[T]):
    """Work may raise EdgeError, which is a result; anything else is a programmer's fault, told by the thread itself."""

    def __init__(self) -> None:
        self.key = ""
        """Of the work that goes on; empty if none does."""
        self._thread: threading.Thread | None = None
        self._result: T | None = None
        self._fault: EdgeError | None = None

    @property
    def busy(self) -> bool:
        """Whether work goes on in this moment."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, key: str, work: Callable[[], T]) -> bool:
        """False if other work still goes on."""
        if self.key:
            return False
        self.key, self._result, self._fault = key, None, None
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"background-{key}", daemon=True)
        self._thread.start()
        return True

    def poll(self) -> Done[T] | None:
        """What has ended since the last call, once."""
        if self._thread is None or self._thread.is_alive():
            return None
        key, self.key, self._thread = self.key, "", None
        if self._result is None and self._fault is None:
            raise AssertionError(f"the work {key!r} ended without a result")
        return Done(key, self._result, self._fault)

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result = work()
        except EdgeError as fault:
            self._fault = fault
