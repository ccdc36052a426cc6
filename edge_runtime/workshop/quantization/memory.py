"""How much memory this process has held at most."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Peak resident memory in MB (10^6 bytes); nan where the kernel does not tell.

    `VmHWM` starts anew with each program; `ru_maxrss` would carry over what the parent held when it forked.
    """
    try:
        lines = STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return float("nan")
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 / 1e6 if found else float("nan")
