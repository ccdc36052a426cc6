"""A terminal that is drawn anew in place: no library, the cursor and the screen given back as they were."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType

_OPEN = "\x1b[?1049h\x1b[?25l"
_CLOSE = "\x1b[?25h\x1b[?1049l"
_KEYS = {"[A": "up", "[B": "down", "[5~": "page up", "[6~": "page down", "[H": "home", "[F": "end"}


class Terminal:
    """`with Terminal() as terminal`: the other screen, keys without Enter; afterwards all is as before."""

    def __init__(self) -> None:
        self._before: list[object] | None = None

    def __enter__(self) -> Terminal:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())
        self._write(_OPEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        self._write(_CLOSE)

    def draw(self, lines: Sequence[str]) -> None:
        """These lines and nothing else; each must fit."""
        self._write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")

    def key(self) -> str:
        """A key that was pressed, empty if none: its sign, or its name."""
        if self._before is None or not select.select([sys.stdin], [], [], 0)[0]:
            return ""
        typed = os.read(sys.stdin.fileno(), 16).decode("utf-8", "replace")
        return _KEYS.get(typed[1:], "") if typed.startswith("\x1b") else typed[:1]

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
