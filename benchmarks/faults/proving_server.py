"""Proves one bundle after another, each in a process forked from one that has its libraries loaded.

usage: python -m benchmarks.faults.proving_server FOLDER   (JSON requests on standard input, one verdict a line)

For campaigns: an interpreter and onnxruntime take longer to start than a small model to be proved. The same `main` runs
under the same limits, and the same parent's code listens and judges (`daemon/proving.py`); what differs is that the
child is forked instead of started, so its private memory already holds the libraries, and that it keeps this process's
priority instead of the lowest.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from edge_runtime.daemon import confine, proving, proving_child
from edge_runtime.daemon.proof import ProofLimits, conclude
from edge_runtime.errors import EdgeError


def prove_forked(bundle: Path, limits: ProofLimits) -> dict[str, object]:
    """As `proving.prove`, told as a verdict: its kind, what was said, seconds, the child's peak in MB, its CPU seconds."""
    began = time.monotonic()
    heard, used = _fork(bundle, limits, began)
    verdict: dict[str, object] = {"peak_mb": round(used.ru_maxrss / 1024, 1), "cpu_s": round(used.ru_utime, 2)}
    try:
        proof = conclude(proving.judge(heard, limits), limits, 1, time.monotonic() - began)
        verdict |= {"kind": "Proof", "said": proof.said}
        verdict["sound"] = all(v.max_error <= v.tolerance and v.golden for v in proof.variants if v.passed)
    except EdgeError as fault:
        verdict |= {"kind": type(fault).__name__, "said": fault.found}
    return verdict | {"status": heard.status, "wall_s": round(time.monotonic() - began, 3)}


def _fork(bundle: Path, limits: ProofLimits, began: float) -> tuple[proving.Heard, os._ResourceUsage]:
    out, said = os.pipe()
    err, complained = os.pipe()
    task = proving_child.Task(bundle, os.getpid(), limits.memory_mb, limits.cpu_s, limits.measure_s, 1)
    pid = os.fork()
    if pid == 0:
        _become_child(task, said, complained)
    os.setpgid(pid, pid)
    os.close(said)
    os.close(complained)
    try:
        words, complaint, late = proving.listen(pid, out, err, began + limits.wall_s)
    finally:
        os.close(out)
        os.close(err)
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return proving.Heard(words, proving.plain(complaint), code, late, used.ru_utime + used.ru_stime), used


def _become_child(task: proving_child.Task, said: int, complained: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(said, 1)
        os.dup2(complained, 2)
        os.closerange(3, 64)
        code = proving_child.main(task.words())
    except MemoryError:
        os.write(2, b"MemoryError\n")
    finally:
        os._exit(code)


def resident_mb() -> float:
    """What this process, the parent, holds now."""
    return round(proving_child.resident_mb(), 1)


def main() -> int:
    os.chdir(sys.argv[1])
    confine.NICENESS = 0
    proving_child.load_libraries()
    for line in sys.stdin:
        request = json.loads(line)
        verdict = prove_forked(Path(request["bundle"]), ProofLimits(**request["limits"]))
        print(json.dumps(verdict | {"parent_mb": resident_mb()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
