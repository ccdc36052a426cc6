"""How the device reports when somebody asks: its essentials, more figures or a finer log for a while, and diagnostics."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge_runtime import __version__
from edge_runtime.daemon.line_account import line_sections
from edge_runtime.daemon.log_ring import last_warnings
from edge_runtime.daemon.voice import BrokerVoice
from edge_runtime.telemetry.builders import clipped
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.observer import resident_mb

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon

THERMAL = Path("/sys/class/thermal")
PACKAGE = "edge_runtime"
Sections = dict[str, dict[str, Scalar]]


class Reports(Protocol):
    """What of a daemon's telemetry is asked for here (`telemetry.observer.Telemetry`)."""

    def hasten(self, interval_s: float | None) -> None: ...
    def repeat_status(self) -> None: ...


class Instruments:
    """Settings that end by themselves, over reloads too, and findings. Owned by the inference loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate: tuple[float, float] | None = None
        """(interval_s, until)"""
        self._level: tuple[str, float] | None = None
        self._served: object = None

    def report_faster(self, interval_s: float, for_s: float) -> None:
        self._rate, self._served = (interval_s, self._clock() + for_s), None

    def log_finer(self, level: str, for_s: float) -> None:
        self._level, self._served = (level, self._clock() + for_s), None

    def attend(self, reports: Reports, usual_level: str) -> None:
        """End what is over; apply what is not to a daemon that is new here."""
        now = self._clock()
        if self._rate is not None and now >= self._rate[1]:
            self._rate, self._served = None, None
        if self._level is not None and now >= self._level[1]:
            self._level, self._served = None, None
        if self._served is not reports:
            self._served = reports
            reports.hasten(self._rate[0] if self._rate is not None else None)
            set_log_level(self._level[0] if self._level is not None else usual_level)

    def in_force(self) -> dict[str, Scalar]:
        """What differs for a while, and for how long yet."""
        found: dict[str, Scalar] = {}
        if self._rate is not None:
            found |= {"telemetry_interval_s": self._rate[0], "telemetry_left_s": round(self._rate[1] - self._clock())}
        if self._level is not None:
            found |= {"log_level": self._level[0], "log_left_s": round(self._level[1] - self._clock())}
        return found


def set_log_level(level: str) -> None:
    """Of everything that this package logs."""
    logging.getLogger(PACKAGE).setLevel(level.upper())


def essentials(daemon: Daemon) -> dict[str, Scalar]:
    """What matters most of the status, for a receipt."""
    health = daemon.health()
    cameras = health.cameras.values()
    return {
        "state": health.state,
        "reasons": clipped("; ".join(health.reasons)),
        "model": f"{health.model.name}-{health.model.version}" if health.model else "",
        "phase": health.models.phase,
        "candidate": health.models.candidate_version,
        "cameras": len(cameras),
        "cameras_ok": sum(camera.state == "ok" for camera in cameras),
        "uptime_s": round(daemon.uptime_s, 1),
        "version": __version__,
    }


def diagnose(daemon: Daemon, for_a_while: dict[str, Scalar]) -> tuple[Sections, tuple[str, ...]]:
    """Everything that a person far away may ask next; no picture, no secret. Bounded: sections of a few figures each."""
    state_dir = daemon.parts.config.storage.state_dir
    health = daemon.health()
    sections: Sections = {
        "versions": _versions(),
        "machine": _machine(),
        "memory": _memory(),
        "disk": _disk(state_dir),
        "temperatures": dict(_temperatures()),
        "clock": {"wall": round(time.time(), 1), "monotonic_s": round(time.monotonic(), 1)},
        "health": {"state": health.state, **{f"reason_{n}": clipped(r) for n, r in enumerate(health.reasons[:16])}},
        "model": _model(daemon),
        "settings": dict(daemon.parts.overlay.in_force),
        "for_a_while": for_a_while,
    }
    if isinstance(daemon.voice, BrokerVoice):
        sections |= line_sections(daemon.voice.line)
    for name, camera in list(health.cameras.items())[:32]:
        station = daemon.roster.stations.get(name)
        sections[f"camera {name}"] = {
            "state": camera.state,
            "reason": clipped(camera.reason),
            "age_s": None if camera.age_s is None else round(camera.age_s, 1),
            "reconnects": camera.reconnects,
            "frames": station.frames if station else 0,
            "missed": station.missed if station else 0,
            "drift": station.parts.drift.report().state.value if station else "",
        }
    return sections, last_warnings()


def _versions() -> dict[str, Scalar]:
    import cv2
    import numpy as np
    import onnxruntime as ort

    return {
        "edge_runtime": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": str(ort.__version__),
        "opencv": cv2.__version__,
    }


def _machine() -> dict[str, Scalar]:
    load = os.getloadavg()
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "processors": os.cpu_count() or 0,
        "load_1": round(load[0], 2),
        "load_15": round(load[2], 2),
    }


def _memory() -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"rss_mb": round(resident_mb(), 1)}
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable", "SwapFree"):
            found[name] = f"{int(rest.split()[0]) // 1024} MB"
    return found


def _disk(folder: Path) -> dict[str, Scalar]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as fault:
        return {"fault": f"{fault.strerror}"}
    return {"free_mb": usage.free // 2**20, "total_mb": usage.total // 2**20}


def _temperatures(folder: Path = THERMAL) -> Iterator[tuple[str, Scalar]]:
    """Degrees Celsius by zone; nothing on a machine that does not say."""
    for zone in sorted(folder.glob("thermal_zone*"))[:16]:
        try:
            name, raw = (zone / "type").read_text("ascii").strip(), (zone / "temp").read_text("ascii")
            yield f"{zone.name.removeprefix('thermal_zone')} {name[:40]}", round(int(raw) / 1000, 1)
        except (OSError, ValueError):
            continue


def _model(daemon: Daemon) -> dict[str, Scalar]:
    deck, candidate = daemon.deck, daemon.deck.store.candidate
    found: dict[str, Scalar] = {"running": str(deck.id) if deck.id else "none", "trouble": clipped(deck.trouble)}
    if deck.loaded is not None:
        found |= {"version": deck.loaded.id.version, "sha256": deck.loaded.id.sha256}
        found |= {"variant": deck.loaded.variant.value, "floor": deck.store.floor_of(deck.loaded.id.name)}
    if candidate is not None:
        found |= {"candidate": candidate.version, "candidate_phase": candidate.phase}
    found |= {f"problem_{n}": clipped(text) for n, text in enumerate(deck.store.problems[:4])}
    return found
