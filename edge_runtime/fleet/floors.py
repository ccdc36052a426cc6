"""The highest `seq` that was taken from each signer for each audience, kept over a restart and over a damaged file.

Per signer, because operators' clocks differ: with one floor for all, the one whose clock is ahead would lock the others
out, and whoever may command one verb only could lock out everybody.
"""

from __future__ import annotations

import logging
import threading

from edge_runtime.errors import TryAgain
from edge_runtime.lifecycle.floors import Floors

log = logging.getLogger(__name__)


class CommandFloors:
    """In memory, and in both copies of `lifecycle.floors` if there are any; any thread may use it."""

    def __init__(self, floors: Floors | None = None) -> None:
        """None: in memory only, so that what has not expired could be replayed after a restart."""
        self._floors = floors
        self._held = dict(floors.commands()) if floors else {}
        self.time_s = floors.time_s if floors else 0.0
        """It is not earlier than this, whatever the clock says; as far as was known when `keep` last looked."""
        self._lock = threading.Lock()
        self.problem = ""
        """Why they are not on the disk."""

    def of(self, audience: str, signer: str) -> int:
        return self._held.get(f"{audience} {signer}", 0)

    def rise(self, audience: str, signer: str, seq: int) -> None:
        """In memory only; `keep` makes it last."""
        with self._lock:
            self._held[f"{audience} {signer}"] = max(seq, self.of(audience, signer))

    def keep(self) -> bool:
        """Bring the floors to the disk, before a command is acted on. Waits for the disk; False if it takes no copy."""
        if self._floors is None:
            return True
        with self._lock:
            held = dict(self._held)
        try:
            self._floors.raise_commands(held)
            self.time_s = self._floors.time_s
        except TryAgain as fault:
            if not self.problem:
                log.warning("what was commanded can not be kept: %s", fault)
            self.problem = fault.found
            return False
        self.problem = ""
        return True
