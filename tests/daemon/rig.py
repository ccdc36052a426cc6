"""A device for tests: real pipeline, models, stores and disks; the camera, the voice and the clock are in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.config import CameraConfig, DeviceConfig, ModelConfig, StorageConfig, TelemetryConfig, ViewConfig
from edge_runtime.daemon.candidacy import Candidacy
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.models import LoadedModel, build_parts, thresholds_of
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.parts import DaemonParts
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.run import Daemon
from edge_runtime.daemon.sentry import Sentry
from edge_runtime.daemon.station import Station, StationParts
from edge_runtime.daemon.status_file import BrokerLine
from edge_runtime.daemon.terms import Terms, read_terms
from edge_runtime.drift.monitor import DriftMonitor
from edge_runtime.errors import BadConfig, EdgeError
from edge_runtime.layout import read_layout, write_layout
from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.guard import TrialSettings
from edge_runtime.lifecycle.guard.settings import RuleSettings
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.normalize.reference import open_reference
from edge_runtime.pipeline import Observer, Pipeline
from edge_runtime.records import Event, Frame, Image, Layout, Slot
from edge_runtime.shelf.states import ShelfTracker
from edge_runtime.telemetry.builders import Health
from tests.lifecycle.bundles import make_bundle


def shelf_picture(seed: int = 1) -> Image:
    """A picture with enough structure to register."""
    random = np.random.default_rng(seed)
    rough = random.integers(0, 256, (24, 32, 3), np.uint8)
    picture = cv2.resize(rough, (320, 240), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)


def noisy(picture: Image, seed: int) -> Image:
    """As a sensor gives it: no two pictures are the same, or the camera counts as frozen."""
    noise = np.random.default_rng(seed).integers(-2, 3, picture.shape, np.int16)
    return np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def write_shelf(folder: Path) -> Path:
    """A reference picture and its layout of four slots; the layout's path."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "reference.png"), shelf_picture())
    slots = tuple(
        Slot(f"s{n}", f"sku{n}", ((30 + 65 * n, 40), (80 + 65 * n, 40), (80 + 65 * n, 190), (30 + 65 * n, 190)))
        for n in range(4)
    )
    write_layout(folder / "layout.json", "reference.png", (320, 240), slots)
    return folder / "layout.json"


class Status(StrEnum):
    LIVE = "live"
    LOST = "lost"
    CONNECTING = "connecting"


@dataclass
class Report:
    status: Status = Status.LIVE
    error: str = ""
    reconnects: int = 0
    dropped: int = 0
    source: str = "memory"


@dataclass
class MemoryCamera:
    """Hands out what the test shows it, one frame at a time."""

    name: str
    clock: MemoryClock
    report: Report = field(default_factory=Report)
    frame: Frame | None = None
    started: bool = False
    stopped: bool = False

    def show(self, pixels: Image) -> None:
        sequence = self.frame.sequence + 1 if self.frame else 1
        pixels = noisy(pixels, sequence) if pixels.any() else pixels
        self.frame = Frame(self.name, sequence, pixels, 1.7e9 + self.clock.now, self.clock.now)

    def start(self) -> None:
        self.started = True

    def stop(self, timeout_s: float = 5.0) -> bool:
        self.stopped = True
        return True

    def newest(self, timeout_s: float, after_sequence: int = 0) -> Frame | None:
        return self.frame if self.frame and self.frame.sequence > after_sequence else None

    def has_newer(self, after_sequence: int) -> bool:
        return self.newest(0.0, after_sequence) is not None

    def health(self) -> Report:
        return self.report


@dataclass
class MemoryClock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class MemoryVoice:
    """Keeps what was said."""

    healths: list[Health] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    faults: tuple[str, ...] = ()
    started: bool = False
    closed: bool = False

    def start(self) -> None:
        self.started = True

    def attend(self, daemon: Daemon) -> None:
        pass

    def report_health(self, health: Health) -> None:
        self.healths.append(health)

    def report_event(self, event: Event) -> None:
        self.events.append(event)

    def broker(self) -> BrokerLine:
        return BrokerLine("off")

    def troubles(self) -> tuple[str, ...]:
        return self.faults

    def close(self, going_on: bool = False) -> None:
        self.closed = True


@dataclass
class BootClock:
    """The store's clock."""

    boot: str
    clock: MemoryClock

    def now(self) -> Instant:
        return Instant(self.boot, self.clock.now, 1.7e9 + self.clock.now)


QUICK = TrialSettings(
    least_s=30.0,
    least_frames=4,
    least_pairs=8,
    rules=RuleSettings(frames=2, lasting_s=4.0, least_slots=2, max_infer_ms=10_000.0, timed_frames=3),
)
"""A guard that needs few frames of a shelf with four slots."""


class Rig:
    """A daemon of `cameras` in a folder; bundles are made on the spot, oldest first (behaviours of tests.lifecycle)."""

    def __init__(
        self,
        folder: Path,
        cameras: tuple[str, ...] = ("a",),
        bundles: tuple[str, ...] = ("good",),
        terms: Terms = Terms(0.0, 30.0, 4),  # noqa: B008 - frozen
        boot: str = "boot",
    ) -> None:
        """`terms`: of a new model; `boot`: names the device's boot, for a power cut is no crash of a model."""
        self.folder = folder
        self.clock = MemoryClock()
        self.voice = MemoryVoice()
        self.cameras: dict[str, MemoryCamera] = {}
        self.boot = BootClock(boot, self.clock)
        self.store_folder = folder / "state"
        self.factory = factory = self.make_bundles(bundles)
        self.store = ModelStore(folder / "state", factory, self.boot, allow_unsigned=True)
        self.deck = ModelDeck(self.store, healthy_frames=3)
        self.candidacy = Candidacy(
            self.deck,
            lambda: ModelStore(folder / "state", factory, self.boot, allow_unsigned=True),
            lambda sha256: read_terms(folder / "state", sha256, terms),
            Sentry(QUICK),
            self.clock,
        )
        self.next_config: DeviceConfig | BadConfig = BadConfig("device.toml:3: nothing of use")
        configs = tuple(CameraConfig(name, f"memory-{name}", folder / name / "layout.json", 1.0) for name in cameras)
        for config in configs:
            write_shelf(config.layout.parent)
        self.config = DeviceConfig(
            folder / "device.toml",
            "dev",
            "site",
            configs,
            ModelConfig("shelf-test"),
            None,
            TelemetryConfig(),
            StorageConfig(folder / "state"),
            ViewConfig(enabled=False),
        )
        self.roster = Roster(configs, self.open_station, self.deck, self.clock)

    def make_bundles(self, behaviours: tuple[str, ...]) -> list[Path]:
        folder = self.folder / "factory"
        folder.mkdir(parents=True, exist_ok=True)
        return [
            make_bundle(folder / f"shelf-test-1.{n}.0.zip", f"1.{n}.0", behaviour)
            for n, behaviour in enumerate(behaviours)
        ]

    def open_station(self, config: CameraConfig, loaded: LoadedModel | None) -> Station:
        layout: Layout = read_layout(config.layout)
        reference = open_reference(layout)
        normalizer, model = build_parts(layout, reference, loaded)
        tracker = ShelfTracker(config.name, layout, thresholds_of(loaded))
        drift = DriftMonitor(config.name)
        camera = self.cameras.setdefault(config.name, MemoryCamera(config.name, self.clock))
        pipeline = Pipeline(normalizer, model, tracker, [drift, *self.watchers(config, layout)])
        return Station(StationParts(config, layout, reference, camera, pipeline, tracker, drift), self.clock)

    def watchers(self, config: CameraConfig, layout: Layout) -> tuple[Observer, ...]:
        """Who else looks at the outcomes of a camera; for rigs that have more."""
        return ()

    def daemon(self, notifier: Notifier | None = None, troubles: tuple[str, ...] = ()) -> Daemon:
        parts = DaemonParts(
            self.config,
            self.roster,
            self.deck,
            self.candidacy,
            self.voice,
            notifier or Notifier(None),
            self.reload,
            troubles=troubles,
        )
        return Daemon(parts, self.clock)

    def reload(self) -> DeviceConfig:
        if isinstance(self.next_config, EdgeError):
            raise self.next_config
        return self.next_config

    def turns(self, daemon: Daemon, count: int, pixels: Image | None = None, step_s: float = 5.0) -> None:
        """Show every camera a picture (or none) and take the daemon around, `count` times."""
        for _ in range(count):
            self.clock.now += step_s
            for camera in self.cameras.values() if pixels is not None else ():
                assert pixels is not None
                camera.show(pixels)
            daemon.turn()
