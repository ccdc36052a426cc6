"""Prove a bundle on this device: in a process of its own, under limits, before the daemon loads a byte of it.

The child (`proving_child.py`) loads and runs the model; here it is started, listened to and ended. Nothing that it says
is believed before it has been decoded strictly, and it says little: a few kilobytes.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from edge_runtime.daemon.proof import Findings, Message, Proof, ProofLimits, Step, Unread, VariantProof, conclude
from edge_runtime.daemon.proving_child import Task
from edge_runtime.errors import ModelFault, Refused, TryAgain
from edge_runtime.lifecycle.bundle import Variant, sha256_of_file

__all__ = ["Proof", "ProofLimits", "Variant", "VariantProof", "prove"]

MAX_SAID_BYTES = 65_536
_STDERR_KEPT = 2048
_EXIT_S = 5.0
"""Allowed to the child between its last word and its end."""
_POLL_S = 0.005
STARVED = 0.05
"""A child that had less than this share of one processor until its time was over says nothing about the model."""
_STOPPED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Somebody's word, as at a shutdown; no model's doing."""
_MODULE = "edge_runtime.daemon.proving_child"
_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
}
_MEND = "It is not run; pack it again, or for this kind of device"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a child: its words, and how it ended."""

    said: bytes
    """At most MAX_SAID_BYTES + 1."""
    complained: str
    """The end of its standard error."""
    status: int
    """Exit code; negative: killed by that signal."""
    late: bool
    """It was killed here, at the end of its time or because it talked too much."""
    cpu_s: float = 0.0
    """Processor time that it had."""


def prove(bundle: Path, limits: ProofLimits = ProofLimits(), threads: int = 1) -> Proof:  # noqa: B008 - frozen
    """Load every file of a bundle in a child process, ask its golden set, time it, and choose the one to run.

    Blocks for seconds; the caller's other threads go on. The calling thread must outlive the call (the child dies with
    it). Raises ModelFault with what was wrong if no file of the bundle can run on this device, Refused if it is not a
    whole bundle, Unavailable if it can not be read, TryAgain if the child could not be started.
    """
    sha256 = sha256_of_file(bundle)
    began = time.monotonic()
    task = Task(bundle.absolute(), os.getpid(), limits.memory_mb, limits.cpu_s, limits.measure_s, threads)
    findings = judge(_run(task, limits), limits)
    if findings.sha256 != sha256:
        raise Refused(f"{bundle} changed while it was being proved", "Install it again")
    return conclude(findings, limits, threads, time.monotonic() - began)


def listen(pid: int, out: int, err: int, deadline_s: float) -> tuple[bytes, bytes, bool]:
    """Hear a child out until it has ended, then kill whatever is left of its process group; it is left to be waited for.

    `out`, `err`: its pipes; `deadline_s`: monotonic. Returns what it said, the end of what it complained of, and
    whether it had to be stopped.
    """
    said, complained, open_pipes = bytearray(), bytearray(), [out, err]
    while open_pipes and len(said) <= MAX_SAID_BYTES:
        ready = select.select(open_pipes, [], [], max(0.0, deadline_s - time.monotonic()))[0]
        if not ready:
            break
        for pipe in ready:
            piece = os.read(pipe, 16_384)
            if not piece:
                open_pipes.remove(pipe)
            (said if pipe == out else complained).extend(piece)
        del complained[:-_STDERR_KEPT]
    talks = len(said) > MAX_SAID_BYTES
    late = talks or not _ended_by(pid, min(deadline_s, time.monotonic() + _EXIT_S))
    os.killpg(pid, signal.SIGKILL)  # not yet waited for, so the number is still the child's
    return bytes(said[: MAX_SAID_BYTES + 1]), bytes(complained), late


def judge(heard: Heard, limits: ProofLimits) -> Findings:
    """The child's findings; or why there are none, as the error to raise (see `prove`)."""
    steps, last = _messages(heard)
    doing = steps[-1].doing if steps else ""
    if heard.late or heard.status != 0:
        _raise_end(heard, doing, limits)
    if isinstance(last, Unread):
        raise Refused(last.found, last.mend)
    if last is None:
        raise ModelFault("the proving process ended without an answer", _MEND)
    return last


def _run(task: Task, limits: ProofLimits) -> Heard:
    command = [sys.executable, "-E", "-s", "-B", "-m", _MODULE, *task.words()]
    deadline_s = time.monotonic() + limits.wall_s
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as fault:
        raise TryAgain(f"no process could be started to prove a model in: {fault.strerror}", "Try again") from None
    assert child.stdout is not None and child.stderr is not None
    with child.stdout as out, child.stderr as err:
        try:
            said, complained, late = listen(child.pid, out.fileno(), err.fileno(), deadline_s)
            used_s = cpu_s(child.pid)
        finally:
            child.kill()
            status = child.wait()
    return Heard(said, plain(complained), status, late, used_s)


def cpu_s(pid: int) -> float:
    """Processor time of a child that has not been waited for yet."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ended_by(pid: int, deadline_s: float) -> bool:
    """Wait until a child is dead, and leave it to be waited for."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _messages(heard: Heard) -> tuple[list[Step], Findings | Unread | None]:
    """What the child was at, and its last word. Raises ModelFault for anything but that, in that order."""
    lines = heard.said.split(b"\n")
    unfinished = lines.pop()
    steps: list[Step] = []
    for number, line in enumerate(lines):
        try:
            message = _DECODER.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            raise ModelFault("the proving process gave a garbled answer", _MEND) from None
        if isinstance(message, Step):
            steps.append(message)
        elif number == len(lines) - 1 and not unfinished:
            return steps, message
        else:
            raise ModelFault("the proving process went on after its last word", _MEND)
    return steps, None


_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def _raise_end(heard: Heard, doing: str, limits: ProofLimits) -> NoReturn:
    """Say how the child came to its end."""
    while_doing = f" while {plain(doing.encode())}" if doing else ""
    if len(heard.said) > MAX_SAID_BYTES:
        raise ModelFault(f"the proving process said more than {MAX_SAID_BYTES} bytes{while_doing}", _MEND)
    if heard.late:
        if heard.cpu_s < STARVED * limits.wall_s:
            had = f"the proving process had {heard.cpu_s:.1f} s of the processor in {limits.wall_s:g} s"
            raise TryAgain(f"{had}{while_doing}: the device is too busy", "Try again when it has less to do")
        raise ModelFault(f"proving it took more than {limits.wall_s:g} s{while_doing}", _MEND)
    if not doing:
        raise TryAgain(f"the proving process did not start: {heard.complained or heard.status}", "Try again")
    if -heard.status in _STOPPED:
        raise TryAgain(f"the proving process was stopped from outside{while_doing}", "Try again")
    if heard.status == -signal.SIGXCPU:
        raise ModelFault(f"it used more than {limits.cpu_s} s of the processor{while_doing}", _MEND)
    if "bad_alloc" in heard.complained or "MemoryError" in heard.complained:
        raise ModelFault(f"it takes more than {limits.memory_mb} MB of memory{while_doing}", _MEND)
    if heard.status == -signal.SIGKILL:
        raise ModelFault(f"it was killed{while_doing}; the device may be out of memory", _MEND)
    how = f"ended with code {heard.status}" if heard.status > 0 else f"was killed by signal {-heard.status}"
    told = f": {heard.complained}" if heard.complained else ""
    raise ModelFault(f"its process {how}{while_doing}{told}", _MEND)


def plain(raw: bytes) -> str:
    """The last line of a text that may hold anything, as plain signs."""
    lines = raw.decode("ascii", "replace").strip().splitlines()
    return re.sub(r"[^ -~]", "?", lines[-1])[:200] if lines else ""
