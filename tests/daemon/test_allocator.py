"""Freed frames go back to the system, whatever small things were allocated between them."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from edge_runtime.daemon.allocator import bound_allocator

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

if sys.argv[1] == "bound" and not bound_allocator():
    sys.exit(77)
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
size, kept = 3 * 1024 * 1024, []
libc.free(libc.malloc(size))
before = resident_mb()
for _ in range(20):
    frames = []
    for _ in range(4):
        frames.append(libc.malloc(size))
        ctypes.memset(frames[-1], 1, size)
        kept.append(libc.malloc(2000))
    for frame in frames:
        libc.free(frame)
print(resident_mb() - before)
"""


def growth_mb(mode: str) -> float:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("this C library has no mallopt")
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_freed_frames_leave_no_holes() -> None:
    assert growth_mb("bound") < 3.0
