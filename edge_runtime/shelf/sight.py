"""Is something in sight? Hysteresis between "a shopper walked by" and "it is blocked", for a slot or a whole view."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.records import Frame


@dataclass(frozen=True, slots=True)
class SightSettings:
    """How patient the shelf is with what it can not see."""

    hide_captures: int = 3
    """Out of sight after so many pictures in a row without an answer ..."""
    hide_s: float = 10.0
    """... that span at least this long."""
    show_captures: int = 2
    """In sight again after so many answered pictures in a row."""
    quiet_s: float = 300.0
    """Going out of sight is told at most once in this time; the published state follows anyway."""


class Sight:
    """One thing that may be hidden. Feed it `miss` or `see` once a picture; read `hidden`."""

    __slots__ = ("_answered", "_first", "_missed", "_quiet_until_s", "_same", "_settings", "hidden", "since", "told")

    def __init__(self, settings: SightSettings) -> None:
        self._settings = settings
        self._missed = self._answered = self._same = 0
        self._first: tuple[float, float] = (0.0, 0.0)
        self._quiet_until_s = float("-inf")
        self.hidden: tuple[str, str] | None = None
        """(state, reason) that is published while hidden; None while in sight."""
        self.since = 0.0
        """Wall clock of the first picture of the hidden time."""
        self.told = False
        """Whether the present hidden time was worth telling."""

    def miss(self, frame: Frame, state: str, reason: str, telling: bool) -> bool:
        """A picture without an answer. True if it just went out of sight and that is to be told."""
        now_s = frame.captured_monotonic_s
        if self._missed == 0:
            self._first = (frame.captured_at, now_s)
        self._missed += 1
        self._answered = 0
        if self.hidden is not None:
            self._follow(state, reason)
            return False
        limits = self._settings
        if self._missed < limits.hide_captures or now_s - self._first[1] < limits.hide_s:
            return False
        self.hidden, self.since, self._same = (state, reason), self._first[0], 0
        self.told = telling and now_s >= self._quiet_until_s
        if self.told:
            self._quiet_until_s = now_s + limits.quiet_s
        return self.told

    def see(self) -> bool:
        """An answered picture. True if there were enough of them in a row to believe it."""
        self._answered += 1
        self._missed = 0
        return self._answered >= self._settings.show_captures

    def show(self) -> None:
        """It is in sight."""
        self.hidden = None
        self.told = False

    def _follow(self, state: str, reason: str) -> None:
        """The cause changed while hidden: follow it without a word once it has lasted."""
        self._same = self._same + 1 if (state, reason) != self.hidden else 0
        if self._same >= self._settings.hide_captures:
            self.hidden, self._same = (state, reason), 0
