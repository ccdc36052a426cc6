"""A whole virtual fleet: its processes, their figures added up, and its end."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from edge_runtime.errors import Unavailable
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.simulator.fleet.share import FAREWELL_S, Figures, Share

_MODULE = "edge_runtime.simulator.fleet.share"
_ROOT = Path(__file__).resolve().parents[3]
SPARE_FILES = 64
"""Open files of a process beside its connections."""


class Fleet:
    """`with Fleet(plan, processes) as fleet: fleet.figures`. It ends what it started."""

    def __init__(self, plan: FleetPlan, processes: int = 1) -> None:
        self.plan = plan
        self._of = max(1, min(processes, plan.devices))
        self._children: list[subprocess.Popen[bytes]] = []
        self._newest: list[Figures] = [Figures()] * self._of
        self._readers: list[threading.Thread] = []

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._children)

    @property
    def figures(self) -> Figures:
        """The newest of all processes together."""
        return sum(self._newest, Figures())

    @property
    def troubles(self) -> tuple[str, ...]:
        """Processes that ended by themselves."""
        codes = [child.poll() for child in self._children]
        return tuple(f"process {n} ended with code {code}" for n, code in enumerate(codes) if code is not None)

    def start(self) -> None:
        """Raises Unavailable if this machine does not allow so many open files."""
        _allow_files(self.plan.devices // self._of + SPARE_FILES)
        for number in range(self._of):
            child = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=_ROOT,
                process_group=0,  # Ctrl-C is for whoever started it, who then lets it say goodbye
            )
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(msgspec.json.encode(Share(self.plan, number, self._of)) + b"\n")
            child.stdin.flush()
            reader = threading.Thread(target=self._read, args=(number, child.stdout), daemon=True)
            reader.start()
            self._children.append(child)
            self._readers.append(reader)

    def stop(self) -> Figures:
        """Every device says goodbye; the last figures."""
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()
        ends_s = time.monotonic() + FAREWELL_S + 5.0
        for child in self._children:
            try:
                child.wait(max(0.1, ends_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for reader in self._readers:
            reader.join(5.0)
        self._children.clear()
        return self.figures

    def until(self, holds: Callable[[Figures], bool], timeout_s: float) -> float:
        """Seconds until it holds. Raises Unavailable if it does not in time, or if a process dies."""
        began_s = time.monotonic()
        while not holds(self.figures):
            if self.troubles:
                raise Unavailable(f"the virtual fleet is not whole: {'; '.join(self.troubles)}")
            if time.monotonic() - began_s > timeout_s:
                raise Unavailable(f"after {timeout_s:.0f} s the fleet is still: {shown(self.figures)}")
            time.sleep(0.1)
        return time.monotonic() - began_s

    def __enter__(self) -> Fleet:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self, number: int, lines: BinaryIO) -> None:
        with lines:
            for line in lines:
                self._newest[number] = msgspec.json.decode(line, type=Figures)


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Unavailable(
            f"a process may open {hard} files here, {wanted} are needed", "Take more --processes, or raise ulimit -n"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shown(figures: Figures) -> str:
    """What a fleet is still waiting for."""
    return (
        f"{figures.connected} of {figures.devices} connected ({figures.connecting} connecting), {figures.settled} settled,"
        f" {figures.waiting} events wait in {figures.waiting_devices} devices, the oldest for {figures.oldest_s} s,"
        f" models {figures.models},"
        f" desired {figures.states}; {'; '.join(figures.held_up) or 'nobody is held up'}"
    )
