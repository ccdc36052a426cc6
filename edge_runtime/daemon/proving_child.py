"""The process in which a bundle is tried before the daemon trusts it: `python -m` this, started by `proving.py`.

It takes the limits upon itself first, then reads the bundle, loads each of its files, asks the golden set, and times
the files in turn, round by round, so that whatever else the device does meets all of them alike. What it finds goes
out as JSON lines (`proof.Message`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.daemon.confine import confine, die_with, forbid_processes

if TYPE_CHECKING:
    from edge_runtime.daemon.proof import Finding, Findings, Message
    from edge_runtime.inference.probe import Arrays, GoldenReport, Probe
    from edge_runtime.lifecycle.bundle import Bundle, Variant

MIN_ROUNDS = 3
WANTED_ROUNDS = 25
"""Rounds of timing if `measure_s` allows them; never fewer than MIN_ROUNDS."""
MOST = 1e9
"""Errors above this are told as this."""
_NO_MEMORY = ("Failed to allocate memory", "AllocateRawInternal", "bad_alloc", "bad allocation")
"""How the runtime tells that it was refused memory."""
_NULL = "/dev/null"


@dataclass(frozen=True, slots=True)
class Task:
    """What the parent asks, as words on the command line."""

    bundle: Path
    parent: int
    memory_mb: int
    cpu_s: int
    measure_s: float
    threads: int

    def words(self) -> list[str]:
        return [
            str(self.bundle),
            str(self.parent),
            str(self.memory_mb),
            str(self.cpu_s),
            str(self.measure_s),
            str(self.threads),
        ]


def task_of(words: list[str]) -> Task:
    """The inverse of `Task.words`."""
    bundle, parent, memory_mb, cpu_s, measure_s, threads = words
    return Task(Path(bundle), int(parent), int(memory_mb), int(cpu_s), float(measure_s), int(threads))


def main(words: list[str]) -> int:
    """Prove one bundle; 0 if there is a last word on it, whatever it is."""
    task = task_of(words)
    die_with(task.parent)
    confine(task.memory_mb, task.cpu_s)
    out = os.dup(1)
    null = os.open(_NULL, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    load_libraries()
    return prove_bundle(task, out)


def load_libraries() -> None:
    """All that a proof needs, before a byte of the bundle is read."""
    import onnxruntime  # noqa: F401

    import edge_runtime.daemon.proof
    import edge_runtime.inference.probe
    import edge_runtime.lifecycle.bundle  # noqa: F401


def prove_bundle(task: Task, out: int) -> int:
    """Read, load, ask, time; messages go to the file descriptor `out`."""
    from edge_runtime.daemon.proof import MAX_TEXT, Step, Unread
    from edge_runtime.errors import EdgeError
    from edge_runtime.lifecycle.bundle import read_bundle

    if task.threads == 1:
        forbid_processes()
    _send(out, Step("reading the bundle"))
    try:
        bundle = read_bundle(task.bundle)
        golden = bundle.golden_arrays()
    except EdgeError as fault:
        _send(out, Unread(fault.found[:MAX_TEXT], fault.mend[:MAX_TEXT]))
        return 0
    trials = [Trial(bundle, variant, golden, task) for variant in bundle.variants]
    for trial in trials:
        _send(out, Step(f"loading {trial.variant}"))
        trial.load()
        _send(out, Step(f"asking {trial.variant} its golden set"))
        trial.ask()
    _send(out, Step("timing"))
    time_in_turn([trial for trial in trials if not trial.said], task.measure_s)
    _send(out, _findings(bundle, trials))
    return 0


class Trial:
    """One file of the bundle on its way; `said` is why it is out, empty while it is in."""

    def __init__(self, bundle: Bundle, variant: Variant, golden: Arrays, task: Task) -> None:
        self.variant = variant
        self.said = ""
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self._bundle, self._golden, self._task = bundle, golden, task
        self._probe: Probe | None = None
        self._report: GoldenReport | None = None
        self._load_ms = self._memory_mb = 0.0

    def load(self) -> None:
        """Open the session."""
        from edge_runtime.inference.probe import open_probe

        model, manifest = self._bundle.bytes_of(self.variant), self._bundle.manifest
        floating = self.variant != "model.onnx"
        before_mb, began = resident_mb(), time.perf_counter()
        self._guard(lambda: self._keep(open_probe(model, manifest, self._golden, floating, self._task.threads)))
        self._load_ms = 1e3 * (time.perf_counter() - began)
        self._memory_mb = -before_mb

    def ask(self) -> None:
        """Run the golden set, and once what is timed: the first run is slower, and takes the most memory."""
        self._guard(self._check)
        self._guard(lambda: self._probe.run_once() if self._probe else None)
        self._memory_mb = max(0.0, self._memory_mb + resident_mb())

    def time_once(self) -> None:
        """One timed run. A process's own clock advances by ticks only where its processor time is limited, a thread's does not."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        self._guard(lambda: self._probe.run_once() if self._probe else None)
        self.wall_ms.append(1e3 * (time.perf_counter() - wall_s))
        self.cpu_ms.append(1e3 * (time.thread_time() - cpu_s))

    def finding(self) -> Finding:
        """All of it, for the parent."""
        from edge_runtime.daemon.proof import MAX_TEXT, Finding

        report = self._report
        return Finding(
            variant=self.variant,
            said=self.said[:MAX_TEXT],
            golden=report.count if report else 0,
            max_error=min(report.max_error, MOST) if report else 0.0,
            tolerance=min(report.tolerance, MOST) if report else 0.0,
            agreement=report.agreement if report else 0.0,
            load_ms=self._load_ms,
            wall_ms=tuple(self.wall_ms),
            cpu_ms=tuple(self.cpu_ms),
            memory_mb=self._memory_mb,
        )

    def _keep(self, probe: Probe) -> None:
        self._probe = probe

    def _check(self) -> None:
        from edge_runtime.inference.probe import tell_mismatch

        if self._probe is None:
            return
        self._report = self._probe.check()
        if not self._report.passed:
            self.said = tell_mismatch(self._report)

    def _guard(self, act: Callable[[], None]) -> None:
        """Do it if this file is still in; what is the model's fault puts it out."""
        from edge_runtime.errors import ModelFault

        if self.said:
            return
        try:
            act()
        except ModelFault as fault:
            short = any(mark in fault.found for mark in _NO_MEMORY)
            self.said = self._too_big() if short else f"fails: {fault.found}"
        except MemoryError:
            self.said = self._too_big()

    def _too_big(self) -> str:
        return f"takes more than {self._task.memory_mb} MB of memory"


def time_in_turn(trials: list[Trial], measure_s: float) -> None:
    """Time all files, one run of each a round, until there are WANTED_ROUNDS or the time is spent."""
    deadline = time.perf_counter() + measure_s
    for number in range(WANTED_ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() > deadline:
            return
        # The order changes, so that no file always runs in the other's wake.
        for trial in trials if number % 2 else reversed(trials):
            trial.time_once()


def resident_mb() -> float:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)


def _findings(bundle: Bundle, trials: list[Trial]) -> Findings:
    from edge_runtime.daemon.proof import Findings

    return Findings(bundle.sha256, tuple(trial.finding() for trial in trials))


def _send(out: int, message: Message) -> None:
    import msgspec

    view = memoryview(msgspec.json.encode(message) + b"\n")
    while view:
        view = view[os.write(out, view) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
