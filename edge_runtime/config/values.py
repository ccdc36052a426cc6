"""The configuration as frozen records: paths absolute, defaults filled in, nothing secret inside but camera URLs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CameraConfig:
    name: str
    source: str = field(repr=False)
    """A device, `rtsp://`, `http(s)://`, a video file or a folder. May carry credentials: print `shown_url(source)`."""
    layout: Path
    interval_s: float = 2.0
    """Time between two pictures that are inferred."""
    credentials_file: Path | None = None
    """One line, `user:password`, put into the source's URL when it is opened."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model the device runs, where newer ones come from, and on which terms they come in."""

    name: str = "shelf-occupancy"
    repository: str | None = None
    """URL or folder of the signed model repository; None: only what is installed."""
    root: Path | None = None
    """The TUF root file that came with the device: whose signatures count. Always together with `repository`."""
    threads: int = 1
    shadow_s: float = 600.0
    """How long a new model runs beside the current one before it is tried; 0: it is tried at once."""
    trial_s: float = 14_400.0
    """How long it runs in charge, watched, before it is committed ..."""
    trial_frames: int = 100
    """... and for this many answered frames at least."""
    auto_update: bool = False
    """Whether the device looks for newer releases of `name` by itself, and takes them through shadow and trial."""
    update_interval_s: float = 21_600.0


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The broker, and how the device shows who it is."""

    urls: tuple[str, ...]
    """`mqtt://host[:1883]` or `mqtts://host[:8883]`, never with credentials; one or more, the nodes of one broker."""
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    crl_file: Path | None = None
    """Certificates that the broker's authority has taken back (PEM)."""
    keepalive_s: int = 30
    commands: str = "off"
    """`off`; `signed`: by one of the command keys; or `unsigned`: whoever may publish to the broker commands this device
    (closed networks only)."""
    command_keys: Path | None = None
    """The file of `fleet enrol` that says whose signatures count; without it the signed model repository says so."""
    receipts: str = "echo"
    """What proves that an event was delivered: `echo` (it came back through the broker), `collector` (an `ack` of whoever
    keeps it) or `broker` (its acknowledgement alone, which a broker also gives for what it drops)."""
    snapshots: str = "slots"
    """What of a picture may leave the device, on a command: `off`, `slots` (slots that are not blocked; all else is
    grey), `faces-blurred`, or `whole`."""
    home_assistant: bool = False
    """Whether the device announces itself to Home Assistant (MQTT discovery)."""
    protocol: str = "auto"
    """`auto` (MQTT 5, or 3.1.1 where that is refused), `5` or `3.1.1`."""

    @property
    def url(self) -> str:
        """The first of `urls`."""
        return self.urls[0]


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    interval_s: float = 120.0
    heartbeat_s: float = 900.0


@dataclass(frozen=True, slots=True)
class StorageConfig:
    state_dir: Path
    spool_max_mb: int = 64
    spool_max_age_h: float = 168.0


@dataclass(frozen=True, slots=True)
class ViewConfig:
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8780


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """All of device.toml."""

    path: Path
    """The file this came from."""
    id: str
    site: str
    cameras: tuple[CameraConfig, ...]
    model: ModelConfig
    mqtt: MqttConfig | None
    """None: this device publishes nothing; everything else works."""
    telemetry: TelemetryConfig
    storage: StorageConfig
    view: ViewConfig
    groups: tuple[str, ...] = ()
    """Names of the groups whose commands and rollouts are for this device too."""
    log_level: str = "info"
