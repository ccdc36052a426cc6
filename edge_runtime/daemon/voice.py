"""How the device speaks to the world: telemetry through the uplink and the link, commands the other way; or silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.daemon.line_account import broker_line, line_troubles
from edge_runtime.daemon.status_file import BrokerLine
from edge_runtime.records import Event

if TYPE_CHECKING:
    from edge_runtime.daemon.announcer import Announcer
    from edge_runtime.daemon.line import Line
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.wishes import Reporter
    from edge_runtime.telemetry.builders import Health
    from edge_runtime.telemetry.observer import Telemetry

log = logging.getLogger(__name__)


class Voice(Protocol):
    """Who speaks for the device (`fleet` and `telemetry` behind it, or nobody)."""

    def start(self) -> None: ...
    def attend(self, daemon: Daemon) -> None:
        """Between two frames: carry out commands that wait."""
        ...

    def report_health(self, health: Health) -> None: ...
    def report_event(self, event: Event) -> None: ...
    def broker(self) -> BrokerLine: ...
    def troubles(self) -> tuple[str, ...]: ...
    def close(self, going_on: bool = False) -> None:
        """`going_on`: another daemon of this process speaks on; what it can use stays."""
        ...


class SilentVoice:
    """A device without a broker: what happens is in its log and in its status file."""

    def start(self) -> None:
        pass

    def attend(self, daemon: Daemon) -> None:
        pass

    def report_health(self, health: Health) -> None:
        pass

    def report_event(self, event: Event) -> None:
        log.debug("%s: %s -> %s %s", event.kind, event.was or "-", event.now, dict(event.detail or {}))

    def broker(self) -> BrokerLine:
        return BrokerLine("off")

    def troubles(self) -> tuple[str, ...]:
        return ()

    def close(self, going_on: bool = False) -> None:
        pass


@dataclass(slots=True)
class BrokerVoice:
    """The line to the broker, and the telemetry of one daemon over it; `broker.build_broker_voice` makes it."""

    line: Line
    telemetry: Telemetry
    say_info: Callable[[], None]
    reporter: Reporter | None = None
    """Says how far the device is with its desired state."""
    announcer: Announcer | None = None
    """Tells Home Assistant of the device, or that it has gone."""

    def start(self) -> None:
        self.say_info()
        if self.announcer is not None:
            self.announcer.start(self.line.uplink)
        self.line.start()

    def attend(self, daemon: Daemon) -> None:
        self.line.attend(daemon)
        if self.reporter is not None:
            self.reporter.attend(daemon)

    def report_health(self, health: Health) -> None:
        self.telemetry.report_health(health)
        if self.announcer is not None:
            self.announcer.attend(self.line.uplink, self.line.link)

    def report_event(self, event: Event) -> None:
        self.telemetry.report_event(event)

    def broker(self) -> BrokerLine:
        return broker_line(self.line)

    def troubles(self) -> tuple[str, ...]:
        """Also looks after the uplink's thread: one that ended is started again."""
        return tuple(line_troubles(self.line))

    def close(self, going_on: bool = False) -> None:
        """Send what can still be sent, say goodbye; unless another daemon goes on with the line."""
        if not going_on:
            self.line.close()
