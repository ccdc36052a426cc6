"""`replay`: the daemon's pipeline over a recording, and how well it told the day where the truth is known."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, say, table, watched
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.day_marks import DayJudge
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
        "over time. One line an event, then a summary. Times are seconds in the recording. With --truth the summary says\n"
        "how many of the day's events were told, how late, and what was told falsely.",
        "  edge-runtime replay monday.mp4 --layout aisle-1/layout.json --interval 2\n"
        "  edge-runtime replay stills/ --layout aisle-1/layout.json --json | tail -1\n"
        "  edge-runtime replay day/frames --layout day/layout.json --interval 45 --truth day/truth.csv",
    )
    verb.add_argument("recording", type=Path, metavar="VIDEO|FOLDER", help="a video file, or a folder of stills")
    verb.add_argument("--layout", type=Path, required=True, metavar="FILE", help="layout.json of the camera")
    verb.add_argument("--interval", type=float, default=0.0, metavar="S", help="seconds between frames taken (0: all)")
    verb.add_argument("--truth", type=Path, metavar="CSV", help="truth.csv beside the recording, to score the day by")
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument("--camera", default="recording", help="the camera's name in the events (%(default)s)")
    add_json(verb)
    verb.set_defaults(act=_replay)


class Tally:
    """What the summary says, counted frame by frame."""

    def __init__(self) -> None:
        from edge_runtime.shelf.business import BusinessFigures

        self.frames = 0
        self.usable = 0
        self.events = 0
        self.skipped = 0
        self.reasons: Counter[str] = Counter()
        self.total_ms: list[float] = []
        self.last: Outcome | None = None
        self.kinds: Counter[str] = Counter()
        self._business = BusinessFigures()
        self._began = time.perf_counter()

    def take(self, outcome: Outcome) -> None:
        """Count one frame."""
        from edge_runtime.records import Unusable

        self.frames += 1
        self.events += len(outcome.events)
        self.kinds.update(event.kind for event in outcome.events)
        self._business.update(outcome.statuses, outcome.frame.captured_monotonic_s)
        if isinstance(outcome.view, Unusable):
            self.reasons[outcome.view.reason.value] += 1
        else:
            self.usable += 1
        self.total_ms.append(outcome.ms["total"])
        self.last = outcome

    def summary(self) -> dict[str, object]:
        """The last line of `replay`."""
        figures = self._business.figures()
        ordered = sorted(self.total_ms)
        last = self.last
        states = Counter(status.state.value for status in last.statuses) if last else Counter()
        return {
            "frames": self.frames,
            "usable": self.usable,
            "unusable": dict(self.reasons),
            "skipped": self.skipped,
            "events": self.events,
            "events_by_kind": dict(self.kinds),
            "availability": None if figures.availability is None else round(figures.availability, 6),
            "coverage": round(figures.coverage, 6),
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
    judge = _judge(args.truth, args.interval) if args.truth else None
    _, bundle, pipeline = load_pipeline(args.layout, args.model, camera=args.camera)
    tally = Tally()

    def refused(fault: Refused) -> None:
        tally.skipped += 1
        complain(str(fault))

    for frame in read_recording(args.recording, args.interval, args.camera, refused):
        outcome = pipeline.step(frame)
        tally.take(outcome)
        if judge is not None:
            judge.take(outcome)
        for event in outcome.events:
            _tell(event, frame.captured_monotonic_s, args.json)
        if not args.json and watched():
            print(f"\r{frame.captured_monotonic_s:8.1f} s  {tally.frames} frames", end="\r", flush=True)
    model = {"name": bundle.id.name, "version": bundle.id.version, "sha256": bundle.id.sha256}
    summary = tally.summary() | {"model": model} | ({"day": judge.summary()} if judge else {})
    if judge is not None and (unknown := judge.unknown):
        complain(
            f"{args.truth} says nothing about {unknown} of {tally.frames} frames; they are not scored."
            " Give the --interval at which the recording was made"
        )
    if args.json:
        emit({"summary": summary})
    else:
        _say_summary(summary)
    return EXIT_PROBLEM if tally.skipped or (judge is not None and judge.unknown) else EXIT_OK


def _judge(truth: Path, interval_s: float) -> DayJudge:
    from edge_runtime.camera.recording import STILL_STEP_S
    from edge_runtime.cli.day_marks import DayJudge
    from edge_runtime.cli.day_truth import read_truth

    step_s = interval_s or STILL_STEP_S
    return DayJudge(read_truth(truth, step_s), step_s)


def _say_summary(summary: dict[str, object]) -> None:
    say(
        f"{summary['frames']} frames, {summary['usable']} usable, {summary['events']} events in "
        f"{summary['recording_s']} s of recording; took {summary['elapsed_s']} s"
    )
    day = summary.get("day")
    if isinstance(day, dict):
        say(table(("the day against its truth", ""), [(key.replace("_", " "), _shown(day[key])) for key in day]))


def _shown(value: object) -> str:
    """A figure of the day for people: parts by name, and a dash where there was nothing to measure."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


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
