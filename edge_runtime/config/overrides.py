"""What may be changed on a device from afar: a short list of keys, each with its bounds, laid over device.toml.

Nothing here can cut a device off (its broker, its identity, whose signatures count), show more of a store than
device.toml allows, or bring code or a model in. The file stays the technician's own; `daemon.overlay` keeps the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from edge_runtime.config.values import DeviceConfig
from edge_runtime.errors import Refused

Value = str | int | float | bool
SNAPSHOT_POLICIES = ("off", "slots", "faces-blurred", "whole")
"""From the least that is shown to the most."""
LOG_LEVELS = ("debug", "info", "warning", "error")
MOST_OVERRIDES = 32

_Bound = Callable[[str, object], Value]
_CAMERA = re.compile(r"camera\.([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.interval_s")


def _number(low: float, high: float) -> _Bound:
    def accept(key: str, value: object) -> Value:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise Refused(f"{key} is {value!r:.80}; a number from {low:.10g} to {high:.10g} was expected")

    return accept


def _whole(low: int, high: int) -> _Bound:
    def accept(key: str, value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise Refused(f"{key} is {value!r:.80}; a whole number from {low} to {high} was expected")

    return accept


def _flag(key: str, value: object) -> Value:
    if isinstance(value, bool):
        return value
    raise Refused(f"{key} is {value!r:.80}; true or false was expected")


def _choice(*choices: str) -> _Bound:
    def accept(key: str, value: object) -> Value:
        if isinstance(value, str) and value in choices:
            return value
        raise Refused(f"{key} is {value!r:.80}; one of {', '.join(choices)} was expected")

    return accept


_INTERVAL = _number(0.1, 600)
BOUNDS: Mapping[str, _Bound] = {
    "log.level": _choice(*LOG_LEVELS),
    "model.auto_update": _flag,
    "model.shadow_s": _number(0, 2_592_000),
    "model.trial_frames": _whole(1, 1_000_000),
    "model.trial_s": _number(60, 2_592_000),
    "mqtt.snapshots": _choice(*SNAPSHOT_POLICIES),
    "storage.spool_max_age_h": _number(1, 2160),
    "storage.spool_max_mb": _whole(4, 4096),
    "telemetry.heartbeat_s": _number(30, 86_400),
    "telemetry.interval_s": _number(5, 86_400),
}
"""Narrower than what device.toml takes; `camera.<name>.interval_s` comes on top."""


def check_override(key: str, value: object) -> Value:
    """The value as the configuration holds it. Raises Refused for a key that may not be changed from afar, or for a
    value out of its bounds."""
    bound = _INTERVAL if _CAMERA.fullmatch(key) else BOUNDS.get(key)
    if bound is None:
        known = ", ".join((*BOUNDS, "camera.<name>.interval_s"))
        raise Refused(f"{key!r:.80} can not be set from afar", f"These can: {known}; the rest is in device.toml")
    return bound(key, value)


def apply_overrides(config: DeviceConfig, overrides: Mapping[str, object]) -> DeviceConfig:
    """`config` with the overrides laid over it. Raises Refused for one that does not fit it: see `check_override`, and
    a camera that is not there, snapshots that show more than the file allows, updates without a repository."""
    if len(overrides) > MOST_OVERRIDES:
        raise Refused(f"{len(overrides)} keys, at most {MOST_OVERRIDES} can be set from afar")
    for key in sorted(overrides):
        config = _apply(config, key, check_override(key, overrides[key]))
    return config


def fitting(config: DeviceConfig, overrides: Mapping[str, object]) -> tuple[DeviceConfig, tuple[str, ...]]:
    """As `apply_overrides`, but one that does not fit any more (device.toml was edited) is left out and told."""
    troubles: list[str] = []
    for key in sorted(overrides):
        try:
            config = _apply(config, key, check_override(key, overrides[key]))
        except Refused as fault:
            troubles.append(fault.found)
    return config, tuple(troubles)


def _apply(config: DeviceConfig, key: str, value: Value) -> DeviceConfig:
    if camera := _CAMERA.fullmatch(key):
        return _camera_interval(config, camera[1], value)
    section, _, name = key.partition(".")
    if section == "log":
        return replace(config, log_level=str(value))
    if section == "mqtt":
        return _snapshots(config, str(value))
    if key == "model.auto_update" and value and config.model.repository is None:
        raise Refused(f"{key} needs a model repository", "Give [model] repository and root in device.toml")
    return replace(config, **{section: replace(getattr(config, section), **{name: value})})


def _camera_interval(config: DeviceConfig, name: str, value: Value) -> DeviceConfig:
    if name not in [camera.name for camera in config.cameras]:
        raise Refused(
            f"there is no camera {name!r}; {', '.join(camera.name for camera in config.cameras)} would be",
            "Name one of those",
        )
    cameras = tuple(
        replace(camera, interval_s=float(value)) if camera.name == name else camera for camera in config.cameras
    )
    return replace(config, cameras=cameras)


def _snapshots(config: DeviceConfig, policy: str) -> DeviceConfig:
    if config.mqtt is None:
        raise Refused("mqtt.snapshots has no meaning on a device without [mqtt]")
    allowed = config.mqtt.snapshots
    if SNAPSHOT_POLICIES.index(policy) > SNAPSHOT_POLICIES.index(allowed):
        raise Refused(
            f"mqtt.snapshots = {policy!r} shows more than device.toml allows ({allowed!r})",
            "More than that can only be allowed in device.toml, at the device",
        )
    return replace(config, mqtt=replace(config.mqtt, snapshots=policy))
