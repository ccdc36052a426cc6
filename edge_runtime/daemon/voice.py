"""How the device speaks to the world: telemetry through the uplink and the link, commands the other way; or silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.daemon.health import BrokerLine, SpoolLine
from edge_runtime.records import Event

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.fleet.link import MqttLink
    from edge_runtime.telemetry.builders import Health
    from edge_runtime.telemetry.observer import Telemetry
    from edge_runtime.telemetry.uplink import Uplink

log = logging.getLogger(__name__)

FLUSH_S = 2.0


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
    def close(self) -> None: ...


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

    def close(self) -> None:
        pass


class Clerk(Protocol):
    """Carries out the commands that wait (`desk.Desk`)."""

    def attend(self, daemon: Daemon) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class BrokerVoice:
    """Link, uplink and telemetry as one; `broker.build_broker_voice` makes it."""

    link: MqttLink
    uplink: Uplink
    telemetry: Telemetry
    say_info: Callable[[], None]
    clerk: Clerk | None = None

    def start(self) -> None:
        self.say_info()
        self.uplink.start()
        self.link.start()

    def attend(self, daemon: Daemon) -> None:
        if self.clerk is not None:
            self.clerk.attend(daemon)

    def report_health(self, health: Health) -> None:
        self.telemetry.report_health(health)

    def report_event(self, event: Event) -> None:
        self.telemetry.report_event(event)

    def broker(self) -> BrokerLine:
        counts = self.uplink.counts()
        spool = counts.spool
        line = SpoolLine(spool.events, spool.telemetry, spool.bytes, dict(spool.dropped), spool.degraded)
        return BrokerLine(
            str(self.link.state), self.link.problem, counts.acknowledged, line, counts.events, counts.sent
        )

    def troubles(self) -> tuple[str, ...]:
        spool = self.uplink.counts().spool.degraded
        problem = self.link.problem
        return (*((f"broker: {problem}",) if problem else ()), *((f"spool: {spool}",) if spool else ()))

    def close(self) -> None:
        """Send what can still be sent, say goodbye."""
        if self.clerk is not None:
            self.clerk.close()
        self.uplink.stop(FLUSH_S)
        self.link.stop(FLUSH_S)
