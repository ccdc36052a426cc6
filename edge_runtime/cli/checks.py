"""What `doctor` looks at. Each check is a function that returns a verdict and never raises for what a device may be like."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from edge_runtime.assets import factory_bundles
from edge_runtime.cli.configuration import key_faults, layout_faults
from edge_runtime.cli.frames import take
from edge_runtime.config import CameraConfig, DeviceConfig, authorized_source, check_files, read_config
from edge_runtime.errors import BadConfig, EdgeError

Verdict = Literal["ok", "warn", "fail"]
MACHINES = ("x86_64", "aarch64", "arm64")
PACKAGES = {
    "numpy": "1.26",
    "onnxruntime": "1.20",
    "opencv-python-headless": "4.10",
    "paho-mqtt": "2.1",
    "pillow": "11",
    "msgspec": "0.19",
}
LITTLE_MEMORY_MB, TOO_LITTLE_MEMORY_MB = 256, 96
LITTLE_DISK_MB, TOO_LITTLE_DISK_MB = 512, 64
_READ_ONLY = "Mount it writable; if the kernel made it read-only, the disk may be failing: see dmesg"
_NOT_OURS = "Give it to the device's user; if that is another user, ask as that one"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def machine() -> Check:
    """64-bit Linux on a processor that the wheels exist for."""
    bits = 8 * struct.calcsize("P")
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {bits} bit"
    if bits != 64 or platform.machine() not in MACHINES:
        return Check("machine", "fail", found, "Install a 64-bit system: onnxruntime and opencv have no 32-bit wheels")
    if sys.platform != "linux":
        return Check("machine", "warn", found, "The daemon is made for Linux; `infer` and `replay` work elsewhere")
    return Check("machine", "ok", found)


def memory() -> Check:
    """What the kernel says is available."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return Check("memory", "warn", "/proc/meminfo can not be read", "Mount /proc")
    sizes = {name: int(rest.split()[0]) // 1024 for name, _, rest in (line.partition(":") for line in lines)}
    available = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    found = f"{available} MB available of {sizes.get('MemTotal', 0)} MB"
    if available < TOO_LITTLE_MEMORY_MB:
        return Check("memory", "fail", found, f"At least {TOO_LITTLE_MEMORY_MB} MB are needed: stop something else")
    if available < LITTLE_MEMORY_MB:
        return Check("memory", "warn", found, f"{LITTLE_MEMORY_MB} MB or more leave room for a model update")
    return Check("memory", "ok", found)


def disk(folder: Path) -> Check:
    """Room where the store and the spool live, or will, and the right to write there."""
    there = folder.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free // 2**20
    except OSError as fault:
        return Check("disk", "fail", f"{there}: {fault.strerror}", "Check [storage] state_dir")
    found = f"{free} MB free for {folder.absolute()}"
    if not os.access(there, os.W_OK | os.X_OK):
        if os.statvfs(there).f_flag & os.ST_RDONLY:
            return Check("disk", "fail", f"the disk of {there} is mounted read-only", _READ_ONLY)
        return Check("disk", "warn", f"{there} is no folder that this user can write", _NOT_OURS)
    if free < TOO_LITTLE_DISK_MB:
        return Check("disk", "fail", found, "Make room: the spool and a model update need it")
    if free < LITTLE_DISK_MB:
        return Check("disk", "warn", found, f"{LITTLE_DISK_MB} MB or more keep a week without a network")
    return Check("disk", "ok", found)


def clock() -> Check:
    """A clock behind the installation itself is certainly wrong."""
    installed = Path(__file__).stat().st_mtime
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < installed - 86_400:
        return Check(
            "clock", "fail", f"{found}, older than this installation", "Set the clock, or start a time service"
        )
    if Path("/run/systemd/timesync").is_dir() and not Path("/run/systemd/timesync/synchronized").exists():
        return Check("clock", "warn", f"{found}, not synchronized yet", "See `timedatectl timesync-status`")
    return Check("clock", "ok", found)


def packages() -> Iterator[Check]:
    """The packages of the device base, and their versions."""
    for name, least in PACKAGES.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Check(name, "fail", "is not installed", f'pip install "{name}>={least}"')
            continue
        if _numbers(found) < _numbers(least):
            yield Check(name, "fail", f"{found}, {least} or newer is needed", f'pip install "{name}>={least}"')
        else:
            yield Check(name, "ok", found)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def opencv() -> Check:
    """OpenCV loads, and does so without a desktop."""
    try:
        import cv2
    except ImportError as fault:
        return Check(
            "cv2", "fail", f"does not load: {fault}", "pip uninstall opencv-python; pip install opencv-python-headless"
        )
    desktop = [line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")]
    toolkit = desktop[0].partition(":")[2].strip() if desktop else "NONE"
    if toolkit not in ("", "NONE"):
        return Check("cv2", "warn", f"{cv2.__version__} with {toolkit}", "pip install opencv-python-headless instead")
    return Check("cv2", "ok", f"{cv2.__version__}, headless")


def onnxruntime() -> Check:
    """onnxruntime loads; which processors it offers."""
    try:
        import onnxruntime as ort
    except ImportError as fault:
        return Check("onnxruntime", "fail", f"does not load: {fault}", "pip install --force-reinstall onnxruntime")
    return Check("providers", "ok", ", ".join(ort.get_available_providers()))


def bundles() -> Iterator[Check]:
    """The factory bundles are whole, and each gives its golden answers on this machine."""
    found = factory_bundles()
    if not found:
        yield Check("model", "fail", "no bundle ships with this installation", "Install the runtime from its wheel")
    for path in found:
        try:
            yield _bundle(path)
        except EdgeError as fault:
            yield Check("model", "fail", fault.found, fault.mend or "Install the runtime again")


def _bundle(path: Path) -> Check:
    from edge_runtime.daemon.compose import load_model
    from edge_runtime.inference.probe import check_golden, measure_latency
    from edge_runtime.lifecycle.bundle import read_bundle

    bundle = read_bundle(path)
    loaded = load_model(bundle)
    golden = check_golden(loaded.session, loaded.manifest, bundle.golden_arrays())
    name = f"{bundle.id.name} {bundle.id.version}"
    if not golden.passed:
        found = f"{name} answers its golden crops differently here: by {golden.max_error:.3g} of at most {golden.tolerance:.3g}"
        return Check("model", "fail", found, "Install the onnxruntime of constraints.txt, or report this processor")
    speed = measure_latency(loaded.session, loaded.manifest, slots=32, rounds=5)
    found = f"{name}, whole, gives its {golden.count} golden answers, {speed.median_ms:.1f} ms for 32 slots"
    return Check("model", "ok", found)


def configuration(path: Path) -> tuple[DeviceConfig | None, Check]:
    """device.toml, and the files that it names."""
    try:
        config = read_config(path)
    except BadConfig as fault:
        return None, Check("config", "fail", fault.found, fault.mend)
    missing = check_files(config) + layout_faults(config) + key_faults(config)
    if missing:
        return config, Check("config", "fail", "; ".join(missing), "`edge-runtime config check` lists them")
    return config, Check("config", "ok", f"{path}, {len(config.cameras)} camera(s)")


def camera(config: CameraConfig) -> Check:
    """One picture of one camera."""
    name = f"camera {config.name}"
    began = time.perf_counter()
    try:
        picture = take(authorized_source(config), 1, limit_s=20.0)[0]
    except EdgeError as fault:
        return Check(name, "fail", fault.found, fault.mend)
    height, width = picture.pixels.shape[:2]
    return Check(
        name, "ok", f"{width}x{height} {picture.codec}, first picture after {time.perf_counter() - began:.1f} s"
    )
