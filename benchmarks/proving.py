"""Does proving a model disturb the frames of the model that runs?

usage: python -m benchmarks.proving [--rounds 6] [--seconds 6] [--fps 10] [--cpus 2]

Frames of a still 1280x960 camera go through the whole frame path at a steady rate, in turns with and without a proof of
the shipped bundle going on in its child process (each proof in a thread, one after the other, as long as its turn lasts).
`--cpus 1` binds everything to one processor, as on the weakest device. Figures of one run only may be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time

from edge_runtime.assets import demo_layout
from edge_runtime.camera.still import decode_still
from edge_runtime.daemon.compose import build_camera_pipeline, default_bundle
from edge_runtime.daemon.proving import prove
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.pipeline import Pipeline
from edge_runtime.records import Frame, Image


class Turns:
    """Milliseconds of each frame, and frames that came late, with and without a proof going on."""

    def __init__(self, pipeline: Pipeline, pixels: Image, fps: float) -> None:
        self._pipeline, self._pixels, self._interval_s = pipeline, pixels, 1.0 / fps
        self._number = 0
        self.ms: dict[bool, list[float]] = {False: [], True: []}
        self.late = {False: 0, True: 0}
        self.proofs_s: list[float] = []

    def take(self, seconds: float, proving: bool) -> None:
        """One turn."""
        over = threading.Event()
        prover = threading.Thread(target=self._prove, args=(over,))
        if proving:
            prover.start()
        ends = time.monotonic() + seconds
        due = time.monotonic()
        while due < ends:
            time.sleep(max(0.0, due - time.monotonic()))
            self._frame(proving)
            due += self._interval_s
            if time.monotonic() > due:
                self.late[proving] += 1
                due = time.monotonic()
        over.set()
        if proving:
            prover.join()

    def _frame(self, proving: bool) -> None:
        self._number += 1
        frame = Frame("bench", self._number, self._pixels, time.time(), time.monotonic(), 0.0)
        began = time.perf_counter()
        self._pipeline.step(frame)
        self.ms[proving].append(1e3 * (time.perf_counter() - began))

    def _prove(self, over: threading.Event) -> None:
        while not over.is_set():
            self.proofs_s.append(prove(default_bundle()).wall_s)

    def figures(self) -> dict[str, object]:
        found: dict[str, object] = {"proofs": len(self.proofs_s), "proof_s": round(statistics.median(self.proofs_s), 2)}
        for proving, name in ((False, "alone"), (True, "proving")):
            ordered = sorted(self.ms[proving])
            found[name] = {
                "frames": len(ordered),
                "p50_ms": round(ordered[len(ordered) // 2], 2),
                "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
                "max_ms": round(ordered[-1], 2),
                "late": self.late[proving],
            }
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each kind")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a turn")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    os.sched_setaffinity(0, set(range(asked.cpus)))
    layout = read_layout(demo_layout())
    pipeline = build_camera_pipeline(layout, read_bundle(default_bundle()))
    turns = Turns(pipeline, decode_still(layout.reference), asked.fps)
    turns.take(1.0, False)
    turns.ms[False].clear()
    for _ in range(asked.rounds):
        for proving in (False, True):
            turns.take(asked.seconds, proving)
    print(json.dumps({"cpus": asked.cpus, "fps": asked.fps, **turns.figures()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
