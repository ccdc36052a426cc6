"""A debugger of one purpose: ends a process, or fails it, at its n-th system call.

What `strace -e inject=` does, but on a fork of this process, which has loaded everything already: a point costs
milliseconds instead of a start of the interpreter, and every system call can be tried rather than a sample.
Linux only. Failing a call writes registers and knows only those of x86-64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

_TRACE_ME, _GET_USER, _SET_USER, _NEXT_CALL, _SET_OPTIONS = 0, 3, 6, 24, 0x4200
_GOOD_STOPS, _EXIT_KILLS = 0x1, 0x100000
_CALL_STOP = signal.SIGTRAP | 0x80
_RESULT, _FLAGS, _NUMBER = 10 * 8, 12 * 8, 15 * 8
"""Offsets of rax, rdx and orig_rax in the traced process's user area (sys/user.h, x86-64)."""
_ARGUMENTS = (14 * 8, 13 * 8, 12 * 8, 7 * 8)
"""The same of rdi, rsi, rdx and r10."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long

_CALLS = {
    0: "read", 1: "write", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 8: "lseek", 17: "pread64", 18: "pwrite64",
    21: "access", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 82: "rename", 83: "mkdir", 87: "unlink", 217: "getdents64", 257: "open", 262: "newfstatat",
}  # fmt: skip
_OPENAT = 257
CHANGES = frozenset({"open to write", "write", "fsync", "ftruncate", "rename", "mkdir", "unlink", "flock"})
SPOOL_CHANGES = CHANGES | {"pwrite64", "fdatasync"}
SPOOL_LOOKS = frozenset({"pread64", "access"})
LOOKS = frozenset({"open", "read", "close", "stat", "fstat", "lstat", "lseek", "getdents64", "newfstatat"})
"""Names of the calls that reach the disk; all others are told by number. A spool makes some that a store does not."""
CAN_FAIL_CALLS = platform.machine() == "x86_64"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a traced process ended."""

    calls: tuple[str, ...]
    """Names of the system calls that it made (all empty on other machines than x86-64)."""
    status: int
    """Exit code, or minus the signal."""
    injected: bool
    """Whether it lived to the call where the fault was to come."""


Watch = Callable[[int, str, tuple[int, ...], int], None]
"""(process, name of the call, its first four arguments, its result)."""


def traced(
    action: Callable[[], int],
    kill_at: int = -1,
    fail: Callable[[int, str], int] | None = None,
    watch: Watch | None = None,
) -> Ending:
    """Run `action` in a forked process; its return value is the exit code.

    `kill_at`: SIGKILL on entry of this call (from 0). `fail(place, name)` is asked for every call and answers the
    errno to fail it with, or 0. `watch` is told of every call when it has returned.
    """
    child = os.fork()
    if child == 0:
        _become_traced(action)
    os.waitpid(child, 0)
    _ptrace(_SET_OPTIONS, child, 0, _GOOD_STOPS | _EXIT_KILLS)
    calls: list[str] = []
    entering, forced, injected = True, 0, False
    while True:
        _ptrace(_NEXT_CALL, child, 0, 0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            return Ending(tuple(calls), os.waitstatus_to_exitcode(status), injected)
        if os.WSTOPSIG(status) != _CALL_STOP:
            continue
        if entering:
            calls.append(_name_of_call(child) if CAN_FAIL_CALLS else "")
            if len(calls) - 1 == kill_at:
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                return Ending(tuple(calls), os.waitstatus_to_exitcode(status), True)
            forced = fail(len(calls) - 1, calls[-1]) if fail else 0
            if forced:
                injected = True
                if calls[-1] != "close":  # Linux lets go of the descriptor also when it answers an error
                    _ptrace(_SET_USER, child, _NUMBER, -1)
        elif forced:
            _ptrace(_SET_USER, child, _RESULT, -forced)
        else:
            _tell(watch, child, calls[-1])
        entering = not entering


def _tell(watch: Watch | None, child: int, name: str) -> None:
    if watch is None:
        return
    arguments = tuple(_ptrace(_GET_USER, child, place, 0) for place in _ARGUMENTS)
    watch(child, name, arguments, _ptrace(_GET_USER, child, _RESULT, 0))


def _name_of_call(child: int) -> str:
    number = _ptrace(_GET_USER, child, _NUMBER, 0)
    if number == _OPENAT and _ptrace(_GET_USER, child, _FLAGS, 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return "open to write"
    return _CALLS.get(number, str(number))


def _become_traced(action: Callable[[], int]) -> None:
    code = 99
    try:
        _ptrace(_TRACE_ME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        code = action()
    finally:
        if (fault := sys.exc_info())[0] is not None:
            sys.__excepthook__(*fault)
        os._exit(code)


def _ptrace(request: int, process: int, address: int, value: int) -> int:
    ctypes.set_errno(0)
    if request == _GET_USER:  # the C library's wrapper answers the word itself, and an error by errno alone
        word = _libc.ptrace(request, process, address, 0)
    else:
        word = _libc.ptrace(request, process, address, ctypes.c_void_p(value))
    if word == -1 and (fault := ctypes.get_errno()):
        raise OSError(fault, f"ptrace {request}: {os.strerror(fault)}")
    return int(word)
