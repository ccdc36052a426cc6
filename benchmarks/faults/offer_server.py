"""Offers bundles to a device's store, in a process whose memory can be read: it does nothing else.

usage: python -m benchmarks.faults.offer_server STATE   (paths on standard input, one JSON line each)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.store import ModelStore


def refused(store: ModelStore, path: Path) -> str:
    """Empty if the store refuses it with a reason; else what it did."""
    try:
        store.install(path)
    except Refused as fault:
        return "" if fault.found and fault.mend else "no reason was given"
    except EdgeError as fault:
        return f"{type(fault).__name__}: {fault}"[:300]
    return "it was installed"


def peak_mb() -> float:
    """The most that this process ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("Linux tells the peak of a process")


def main() -> int:
    store = ModelStore(Path(sys.argv[1]), [], allow_unsigned=True)
    for line in sys.stdin:
        wrong = refused(store, Path(line.rstrip("\n")))
        print(json.dumps({"wrong": wrong, "peak_mb": peak_mb()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
