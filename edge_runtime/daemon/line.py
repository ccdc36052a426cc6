"""The line to the broker: link, spool, uplink, and the desk that answers commands. It outlives a reload of the daemon.

A reload that changes neither who the device is nor its broker nor its storage keeps the connection, the session and the
commands under way: nobody sees the device go, and no command is judged by a gate that has forgotten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from edge_runtime.config import DeviceConfig
from edge_runtime.daemon.spool_notices import SpoolNotices
from edge_runtime.fleet.session import Incoming

if TYPE_CHECKING:
    from edge_runtime.daemon.convergence import Convergence
    from edge_runtime.daemon.key_watch import KeyWatch
    from edge_runtime.daemon.labels import RecentEvents
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.fleet.command_queue import CommandCounts
    from edge_runtime.fleet.link import MqttLink
    from edge_runtime.fleet.valve import Valve
    from edge_runtime.telemetry.builders import Stamp
    from edge_runtime.telemetry.uplink import Uplink

FLUSH_S = 2.0


class Clerk(Protocol):
    """Carries out the commands that wait (`desk.Desk`)."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what is kept of commands."""
        ...

    def attend(self, daemon: Daemon) -> None: ...
    def counts(self) -> CommandCounts: ...
    def close(self) -> None: ...


class Mailbox:
    """Hands what arrives to whoever it is for. Rules are made before the link starts, or between two daemons."""

    def __init__(self) -> None:
        self.valve: Valve | None = None
        """Stops a flood of what is for anybody here; the link's own messages do not count."""
        self._rules: dict[str, tuple[tuple[str, ...], Callable[[Incoming], None]]] = {}

    def sort(self, name: str, prefixes: tuple[str, ...], taker: Callable[[Incoming], None]) -> None:
        """What comes under topics that begin so is for `taker`; a rule of the same name is replaced."""
        self._rules = {**self._rules, name: (prefixes, taker)}

    def arrived(self, message: Incoming) -> None:
        """The link's listener (its thread)."""
        for prefixes, taker in self._rules.values():
            if message.topic.startswith(prefixes):
                if self.valve is None or self.valve.admits(message.topic):
                    taker(message)
                return


@dataclass(slots=True, eq=False)
class Line:
    """Made by `broker.build_line`."""

    purpose: tuple[object, ...]
    """What it was built for, see `purpose_of`."""
    stamp: Stamp
    link: MqttLink
    uplink: Uplink
    mailbox: Mailbox
    sequence: Iterator[int]
    """Numbers of the messages of this session."""
    clerk: Clerk | None = None
    keys: KeyWatch | None = None
    """Looks after whose commands count, where they must be signed."""
    events: RecentEvents | None = None
    convergence: Convergence | None = None
    """Who takes the wishes that come over it."""
    started: bool = False
    notices: SpoolNotices = field(default_factory=SpoolNotices)

    def start(self) -> None:
        """Connect in the background; nothing for a line that is up."""
        if not self.started:
            self.started = True
            self.uplink.start()
            self.link.start()

    def attend(self, daemon: Daemon) -> None:
        """Between two frames."""
        if self.keys is not None:
            self.keys.attend(daemon)
        if self.clerk is not None:
            self.clerk.attend(daemon)
        self.notices.attend(self.uplink.counts().spool, daemon.report)

    def close(self) -> None:
        """Send what can still be sent, say goodbye."""
        if self.clerk is not None:
            self.clerk.close()
        self.uplink.stop(FLUSH_S)
        self.link.stop(FLUSH_S)


def numbers() -> Iterator[int]:
    """1, 2, 3 ..."""
    return itertools.count(1)


def purpose_of(config: DeviceConfig) -> tuple[object, ...]:
    """What a line depends on of a configuration; equal purposes can share one."""
    mqtt = replace(config.mqtt, snapshots="off") if config.mqtt is not None else None
    names = tuple(camera.name for camera in config.cameras)
    trust = (config.model.name, config.model.repository, config.model.root)
    return config.site, config.id, config.groups, mqtt, config.storage, trust, names
