"""systemd's notification protocol (sd_notify(3)) in pure Python: one datagram a message, silent where nobody listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


class Notifier:
    """Tells the service manager how the daemon is. Never raises: a manager that is away must not stop inference."""

    def __init__(
        self,
        address: str | None,
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address` is `$NOTIFY_SOCKET` (a path, or @name for an abstract socket), `watchdog_s` the time it allows."""
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._every_s = watchdog_s / 4 if watchdog_s else None
        self._clock = clock
        self._fed_s = float("-inf")
        self._progress_s = clock()

    @property
    def age_s(self) -> float:
        """Since the last progress, or since the start."""
        return self._clock() - self._progress_s

    def ready(self, status: str = "") -> None:
        self._send("READY=1", status)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("", text)

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", "reading the configuration")

    def stopping(self) -> None:
        self._send("STOPPING=1", "stopping")

    def progress(self) -> None:
        """Feed the watchdog. Call this where work was done (a frame, or a look that found no frame), never on a timer."""
        now = self._progress_s = self._clock()
        if self._every_s is not None and now - self._fed_s >= self._every_s:
            self._fed_s = now
            self._send("WATCHDOG=1")

    def _send(self, message: str, status: str = "") -> None:
        if not self._address:
            return
        lines = [message] if message else []
        if status:
            lines.append("STATUS=" + " ".join(status.split())[:240])
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return
