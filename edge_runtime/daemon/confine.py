"""Limits that a process sets on itself before it touches a model that may be hostile. They can not be lifted again.

Memory, processor time, no new files, few handles, no core dump, last in line for the processor and first for the
kernel's out-of-memory killer; it dies with its parent. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

MEBIBYTE = 1024 * 1024
LIBRARIES_MB = 1024
"""Address space for mapped files and reserved, unused ranges; what is written to counts as private memory."""
NICENESS = 10
_HANDLES = 64
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def die_with(parent: int) -> None:
    """End this process when the thread that started it ends. `parent`: its process id; one that is gone ends us now."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(memory_mb: int, cpu_s: int) -> None:
    """Set all limits on this process. `memory_mb`: private memory; `cpu_s`: from the start of the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError):  # a hardened unit mounts /proc read-only
        Path("/proc/self/oom_score_adj").write_text("1000")
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A limit of 0 does not stop a core dump into a program (systemd-coredump, apport); this does.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _HANDLES)
    _limit(resource.RLIMIT_DATA, memory_mb * MEBIBYTE)
    _limit(resource.RLIMIT_AS, (memory_mb + LIBRARIES_MB) * MEBIBYTE)
    _limit(resource.RLIMIT_CPU, cpu_s, grace=2)


def forbid_processes() -> None:
    """No further process or thread of this user from here (the superuser is exempt)."""
    _limit(resource.RLIMIT_NPROC, 0)


def _limit(what: int, most: int, grace: int = 0) -> None:
    hard = resource.getrlimit(what)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    ceiling = allowed + grace if hard == resource.RLIM_INFINITY else min(allowed + grace, hard)
    resource.setrlimit(what, (allowed, ceiling))
