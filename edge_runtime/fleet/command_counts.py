"""What became of the messages that arrived under the topics of commands."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_runtime.fleet.verdicts import Reason


@dataclass(frozen=True, slots=True)
class CommandCounts:
    """Since the start."""

    taken: int = 0
    repeated: int = 0
    limited: int = 0
    """Dropped unread by the rate limit."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """By Reason, and `handler` for what a handler refused."""
    unanswered: int = 0
    """Refused or repeated ones that got no receipt, because too many would have had to be sent."""
    strangers: int = 0
    """Messages signed with keys that are not known here, or not signed."""

    @property
    def total(self) -> int:
        """Every message that arrived, once it is judged; a command that its handler refused was taken before."""
        of_handlers = self.refused.get("handler", 0) + self.refused.get(Reason.NOT_KEPT, 0)
        return self.taken + self.repeated + self.limited + sum(self.refused.values()) - of_handlers


class CommandTally:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def add(self, **what: int) -> None:
        """By the names of CommandCounts."""
        with self._lock:
            self._sums.update(what)

    def refuse(self, reason: str) -> bool:
        """Count a refusal; True if it is the first for this reason."""
        with self._lock:
            self._refused[reason] += 1
            return self._refused[reason] == 1

    def counts(self) -> CommandCounts:
        with self._lock:
            return CommandCounts(refused=dict(self._refused), **self._sums)
