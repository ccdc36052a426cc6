"""Cameras that are plugged in: V4L2 capture devices, read from sysfs without opening them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class Device:
    path: str
    """/dev/videoN, to be written as `source` in device.toml."""
    name: str
    driver: str
    capture: bool
    """False for the metadata and output nodes that many cameras have besides."""
    usable: bool
    """False: this user may not open it (group `video`)."""


def enumerate_devices(sysfs: Path = SYSFS, dev: Path = Path("/dev")) -> tuple[Device, ...]:
    """All V4L2 nodes, capture devices first, then by number. Empty if there are none."""
    if not sysfs.is_dir():
        return ()
    nodes = [node for node in sysfs.iterdir() if node.name.startswith("video") and node.name[5:].isdecimal()]
    found = [(not _is_capture(node), int(node.name[5:]), _device(node, dev)) for node in nodes]
    return tuple(device for _, _, device in sorted(found, key=lambda entry: entry[:2]))


def _device(node: Path, dev: Path) -> Device:
    path = dev / node.name
    driver = node / "device" / "driver"
    return Device(
        str(path),
        _line(node / "name") or node.name,
        driver.resolve().name if driver.exists() else "",
        _is_capture(node),
        os.access(path, os.R_OK | os.W_OK),
    )


def _is_capture(node: Path) -> bool:
    # The first node of a camera captures; uvcvideo's second one carries metadata.
    return _line(node / "index") in ("", "0")


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
