"""Builds the device's voice over MQTT: link, spool, uplink, telemetry, and the command desk if it is allowed."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.config import DeviceConfig, MqttConfig
from edge_runtime.daemon.announcer import Announcer
from edge_runtime.daemon.desk import Desk
from edge_runtime.daemon.key_watch import KeyWatch
from edge_runtime.daemon.line import Line, Mailbox, numbers, purpose_of
from edge_runtime.daemon.model_counter import ModelCounter
from edge_runtime.daemon.mountings import Mounting
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.voice import BrokerVoice
from edge_runtime.drift.monitor import DriftReport
from edge_runtime.errors import EdgeError
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.commands import CommandGate
from edge_runtime.fleet.device_handlers import device_handlers
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.handlers import standard_handlers
from edge_runtime.fleet.journal import CommandJournal
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.openers import AcceptUnsigned, Opener
from edge_runtime.fleet.scribe import InTurn
from edge_runtime.fleet.settings import Dialect, MqttSettings, Proof
from edge_runtime.fleet.valve import Valve
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier
from edge_runtime.lifecycle.trust.key_ring import KeyRing
from edge_runtime.records import Layout
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.fallback_spool import FallbackSpool
from edge_runtime.telemetry.home_assistant import BIRTH_TOPIC
from edge_runtime.telemetry.observer import Telemetry, TelemetrySettings
from edge_runtime.telemetry.session import next_session
from edge_runtime.telemetry.spool import Spool, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import Uplink

MEGABYTE = 1_000_000
MEMORY_LIMITS = SpoolLimits(max_bytes=8 * MEGABYTE)
"""What may wait in memory while the disk fails."""


def build_broker_voice(config: DeviceConfig, mqtt: MqttConfig, roster: Roster, line: Line) -> BrokerVoice:
    """Nothing connects before `BrokerVoice.start`. `line`: of `build_line`, or of the daemon before this one."""
    settings = TelemetrySettings(config.telemetry.interval_s, config.telemetry.heartbeat_s)
    names = tuple(camera.name for camera in config.cameras)
    telemetry = Telemetry(
        line.stamp,
        line.uplink,
        names,
        settings,
        drift=lambda: _drift_of(roster),
        numbers=line.sequence,
        labels=lambda: line.events.counts if line.events is not None else {},
    )
    intervals_s = {camera.name: camera.interval_s for camera in config.cameras}

    def say_info() -> None:
        telemetry.report_info(_layouts(config), intervals_s, mqtt.commands)

    announcer = Announcer(config.storage.state_dir, line.stamp.topics, names, mqtt.home_assistant)
    line.mailbox.sort("home assistant", (BIRTH_TOPIC,), announcer.arrived)
    return BrokerVoice(line, telemetry, say_info, announcer=announcer)


def build_line(config: DeviceConfig, mqtt: MqttConfig) -> Line:
    """Link, spool, uplink, and the desk if commands are allowed."""
    state_dir = config.storage.state_dir
    topics = Topics(config.site, config.id, config.groups)
    stamp = Stamp(topics, next_session(state_dir / "session"))
    link = MqttLink(_settings(config, mqtt), stamp)
    uplink = Uplink(link, FallbackSpool(lambda: _open_spool(config, state_dir), MEMORY_LIMITS))
    line = Line(purpose_of(config), stamp, link, uplink, Mailbox(), numbers())
    filters: tuple[str, ...] = ()
    if mqtt.commands != "off":
        ring = KeyRing(state_dir, mqtt.command_keys) if mqtt.commands == "signed" else None
        desk = Desk(lambda desk: _build_queue(stamp, link, desk, state_dir, ring), state_dir)
        line.events = desk.events
        if ring is not None:
            line.keys = KeyWatch(
                ring, lambda: desk.queue.counts().strangers + (line.convergence.strangers if line.convergence else 0)
            )
        link.on_connect(desk.queue.connected)
        line.clerk, filters = desk, (*topics.command_filters, topics.desired)
        commands = tuple(name[:-1] for name in topics.command_filters)
        line.mailbox.sort("commands", commands, desk.queue.arrived)
    if mqtt.home_assistant:
        filters = (*filters, BIRTH_TOPIC)
    line.mailbox.valve = Valve(link.hush, filters)
    link.listen(filters, line.mailbox.arrived, qos=0)
    link.tidy(f"{topics.base}/shelf/", {topics.shelf(camera.name) for camera in config.cameras})
    return line


def _drift_of(roster: Roster) -> dict[str, DriftReport]:
    return {name: station.parts.drift.report() for name, station in roster.stations.items()}


def _settings(config: DeviceConfig, mqtt: MqttConfig) -> MqttSettings:
    return MqttSettings(
        mqtt.url,
        client_id=f"{config.site}-{config.id}",
        user=mqtt.username or "",
        password_file=mqtt.password_file,
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        crl_file=mqtt.crl_file,
        keepalive_s=mqtt.keepalive_s,
        others=mqtt.urls[1:],
        dialect=Dialect(mqtt.protocol),
        proof=Proof(mqtt.receipts),
    )


def _open_spool(config: DeviceConfig, state_dir: Path) -> Spool:
    age_s = config.storage.spool_max_age_h * 3600.0
    limits = SpoolLimits(config.storage.spool_max_mb * MEGABYTE, event_age_s=age_s, telemetry_age_s=age_s)
    return SqliteSpool(state_dir / "spool.db", limits)


def _build_queue(stamp: Stamp, link: MqttLink, desk: Desk, state_dir: Path, ring: KeyRing | None) -> CommandQueue:
    models = ModelCounter(desk.running)
    handlers = standard_handlers(stamp, link, models, desk, taker=desk)
    handlers |= device_handlers(stamp, link, desk, desk, desk)
    opener: Opener = AcceptUnsigned() if ring is None else EnvelopeVerifier(ring.keys)
    floors = CommandFloors(Floors(state_dir))
    journal = CommandJournal(state_dir / "commands.json")
    gate = CommandGate(stamp.topics, frozenset(handlers), opener, floors, journal)
    return CommandQueue(gate, stamp, link, handlers, scribe=InTurn(), conclusions=desk.conclusions())


def _layouts(config: DeviceConfig) -> dict[str, Layout]:
    """Of the cameras whose layout can be read now."""
    found = {}
    for camera in config.cameras:
        try:
            mounting = Mounting(config.storage.state_dir, camera.name, camera.layout)
            found[camera.name] = read_layout(mounting.in_force())
        except EdgeError:
            continue
    return found
