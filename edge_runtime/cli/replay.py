"""`replay`: the daemon's pipeline over a recording."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, say, watched
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.errors import Refused
    from edge_runtime.records import Event, Outcome


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    verb = add_verb(
        verbs,
        "replay",
        "run a recording through the whole pipeline and list what happened",
        "Takes a video file or a folder of stills through the same pipeline as the daemon: normalization, model, states\n"
        "over time. One line an event, then a summary. Times are seconds in the recording.",
        "  edge-runtime replay monday.mp4 --layout aisle-1/layout.json --interval 2\n"
        "  edge-runtime replay stills/ --layout aisle-1/layout.json --json | tail -1",
    )
    verb.add_argument("recording", type=Path, metavar="VIDEO|FOLDER", help="a video file, or a folder of stills")
    verb.add_argument("--layout", type=Path, required=True, metavar="FILE", help="layout.json of the camera")
    verb.add_argument("--interval", type=float, default=0.0, metavar="S", help="seconds between frames taken (0: all)")
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument("--camera", default="recording", help="the camera's name in the events (%(default)s)")
    add_json(verb)
    verb.set_defaults(act=_replay)


class Tally:
    """What the summary says, counted frame by frame."""

    def __init__(self) -> None:
        self.frames = 0
        self.usable = 0
        self.events = 0
        self.skipped = 0
        self.reasons: Counter[str] = Counter()
        self.total_ms: list[float] = []
        self.last: Outcome | None = None
        self._began = time.perf_counter()

    def take(self, outcome: Outcome) -> None:
        """Count one frame."""
        from edge_runtime.records import Unusable

        self.frames += 1
        self.events += len(outcome.events)
        if isinstance(outcome.view, Unusable):
            self.reasons[outcome.view.reason.value] += 1
        else:
            self.usable += 1
        self.total_ms.append(outcome.ms["total"])
        self.last = outcome

    def summary(self) -> dict[str, object]:
        """The last line of `replay`."""
        ordered = sorted(self.total_ms)
        last = self.last
        states = Counter(status.state.value for status in last.statuses) if last else Counter()
        return {
            "frames": self.frames,
            "usable": self.usable,
            "unusable": dict(self.reasons),
            "skipped": self.skipped,
            "events": self.events,
            "states": dict(states),
            "recording_s": round(last.frame.captured_monotonic_s, 3) if last else 0.0,
            "elapsed_s": round(time.perf_counter() - self._began, 3),
            "p50_ms": round(ordered[len(ordered) // 2], 3) if ordered else None,
            "p95_ms": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3) if ordered else None,
        }


def _replay(args: argparse.Namespace) -> int:
    from edge_runtime.camera.recording import read_recording
    from edge_runtime.daemon.compose import load_pipeline

    if not 0.0 <= args.interval <= 86_400.0:
        raise Usage(f"--interval {args.interval}", "Give seconds, 0 (every frame) to 86400")
    _, bundle, pipeline = load_pipeline(args.layout, args.model, camera=args.camera)
    tally = Tally()

    def refused(fault: Refused) -> None:
        tally.skipped += 1
        complain(str(fault))

    for frame in read_recording(args.recording, args.interval, args.camera, refused):
        outcome = pipeline.step(frame)
        tally.take(outcome)
        for event in outcome.events:
            _tell(event, frame.captured_monotonic_s, args.json)
        if not args.json and watched():
            print(f"\r{frame.captured_monotonic_s:8.1f} s  {tally.frames} frames", end="\r", flush=True)
    model = {"name": bundle.id.name, "version": bundle.id.version, "sha256": bundle.id.sha256}
    summary = tally.summary() | {"model": model}
    if args.json:
        emit({"summary": summary})
    else:
        say(
            f"{summary['frames']} frames, {summary['usable']} usable, {summary['events']} events in "
            f"{summary['recording_s']} s of recording; took {summary['elapsed_s']} s"
        )
    return EXIT_PROBLEM if tally.skipped else EXIT_OK


def _tell(event: Event, at_s: float, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "t": round(at_s, 3),
                "camera": event.camera,
                "slot": event.slot,
                "from": event.was,
                "to": event.now,
                "confidence": round(event.confidence, 6),
                "id": event.id,
            }
        )
    else:
        say(f"{at_s:8.1f} s  {event.slot or event.kind}: {event.was or '-'} -> {event.now}  {event.confidence:.0%}")
