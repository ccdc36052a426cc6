"""The device's figures for `/metrics`: once a second the loop reads everybody and leaves one frozen reading."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.daemon.model_account import candidate_line, model_line
from edge_runtime.daemon.voice import BrokerVoice
from edge_runtime.telemetry.builders import CameraHealth
from edge_runtime.telemetry.observer import resident_mb
from edge_runtime.web.metrics import CameraReading, LineReading, Reading

if TYPE_CHECKING:
    from edge_runtime.daemon.line import Line
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station
    from edge_runtime.web.board import Board

EVERY_S = 1.0
DAY_S = 86_400.0


class Meters:
    """Owned by the inference loop, which calls `attend` on every turn. Reads everybody, changes nobody."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._read_s = float("-inf")
        self._began_s = time.monotonic()
        self._started_at = time.time()

    def attend(self, daemon: Daemon) -> None:
        now_s = time.monotonic()
        if now_s - self._read_s >= EVERY_S:
            self._read_s = now_s
            self._board.note(self.read(daemon))

    def read(self, daemon: Daemon) -> Reading:
        """Everything but what the cameras' own meters count."""
        health = daemon.newest_health
        model = model_line(daemon.deck, daemon.parts.candidacy)
        candidate = candidate_line(daemon.parts.candidacy)
        stations = daemon.roster.stations
        return Reading(
            at=time.time(),
            version=__version__,
            python=platform.python_version(),
            machine=platform.machine(),
            started_at=self._started_at,
            uptime_s=time.monotonic() - self._began_s,
            state=health.state,
            problems=len(health.reasons),
            resident_bytes=resident_mb() * 1e6,
            cpu_s=time.process_time(),
            watchdog_age_s=daemon.parts.notifier.age_s,
            model=_labels(model, "name", "version", "sha256", "phase", "variant") if model else None,
            candidate=_labels(candidate, "name", "version", "phase") if candidate else None,
            agreement=candidate.agreement if candidate else None,
            rollbacks=health.models.rollbacks,
            cameras={name: _camera(camera, stations.get(name)) for name, camera in health.cameras.items()},
            line=_line(daemon.voice.line) if isinstance(daemon.voice, BrokerVoice) else LineReading(),
        )


def _labels(source: object, *names: str) -> dict[str, str]:
    return {name: str(getattr(source, name)) for name in names}


def _camera(camera: CameraHealth, station: Station | None) -> CameraReading:
    """`station` is None for a camera that could not be set up."""
    if station is None:
        return CameraReading(camera.state, camera.reconnects, age_s=camera.age_s)
    drift, figures = station.parts.drift.report(), station.business.figures()
    return CameraReading(
        camera.state,
        camera.reconnects,
        station.missed,
        camera.age_s,
        drift.state.value,
        drift.cause.value,
        len(drift.moved),
        figures.availability,
        figures.coverage,
    )


def _line(line: Line) -> LineReading:
    report, counts = line.link.report(), line.uplink.counts()
    commands = line.clerk.counts() if line.clerk is not None else None
    return LineReading(
        state=report.state.value,
        connections=report.connections,
        problems=len(report.problems),
        sent=counts.sent,
        acknowledged=counts.acknowledged,
        unconfirmed=report.unconfirmed,
        events=counts.events,
        waiting={"event": counts.spool.events, "telemetry": counts.spool.telemetry},
        spool_bytes=counts.spool.bytes,
        dropped=dict(counts.spool.dropped),
        spool_degraded=bool(counts.spool.degraded),
        certificate_s=report.certificate_days * DAY_S if report.certificate_days is not None else None,
        commands={
            "taken": commands.taken,
            "repeated": commands.repeated,
            "limited": commands.limited,
            "unanswered": commands.unanswered,
            "strangers": commands.strangers,
            "unheard": line.mailbox.valve.dropped if line.mailbox.valve is not None else 0,
        }
        if commands is not None
        else {},
        refused=dict(commands.refused) if commands is not None else {},
    )
