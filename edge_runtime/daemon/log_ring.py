"""The last lines of the log that warn, kept in memory for whoever asks for diagnostics; without secrets."""

from __future__ import annotations

import logging
import re
import time
from collections import deque

from edge_runtime.telemetry.builders import clipped

KEPT = 50
_CREDENTIALS = re.compile(r"(?<=://)\S*@")
"""Up to the last @: an unescaped password may hold any of / ? # @."""
_QUERY = re.compile(r"(://[^\s?]*)\?[^\s'\"]*")
_NAMED = re.compile(r"(?i)\b(pass(?:word|wd|phrase)?|secret|token|api[_-]?key)(\s*[=:]\s*)[^\s,;]+")


def masked(text: str) -> str:
    """The text with what may be secret in it hidden: credentials and queries of addresses, and what follows a name of a
    secret."""
    text = _CREDENTIALS.sub("***@", text)
    text = _QUERY.sub(r"\1?***", text)
    return _NAMED.sub(r"\1\2***", text)


class LogRing(logging.Handler):
    """A handler of warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line: UTC, level, logger and message."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        try:
            said = record.getMessage()
        except (TypeError, ValueError):
            said = str(record.msg)
        self._lines.append(clipped(f"{at} {record.levelname} {record.name}: {masked(said)}"))

    def lines(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)


def last_warnings() -> tuple[str, ...]:
    """Of the ring that this process has; nothing without one."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogRing):
            return handler.lines()
    return ()
