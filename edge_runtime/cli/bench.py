"""`bench` and `model bench`: what a frame costs on this device, and which file of a bundle it runs."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, Refused, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.daemon.models import LoadedModel
    from edge_runtime.daemon.proof import Proof
    from edge_runtime.pipeline import Pipeline
    from edge_runtime.records import Image, Layout

WARM_UP = 3
FRAMES = 60
"""Frames that are timed, if --rounds does not say otherwise."""


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    verb = add_verb(
        verbs,
        "bench",
        "time every stage of a frame on this machine",
        "Takes pictures through the whole frame path (decoding, registration, light, crops, model, confidence, states,\n"
        "drift), and after each frame runs the bare model on the same crops. `overhead` is the frame path without\n"
        "decoding over the bare model, `besides` the milliseconds that the runtime adds to it. Figures of one run only\n"
        "may be compared: machines are noisy.",
        "  edge-runtime bench\n"
        "  edge-runtime bench --model shelf-occupancy-1.1.0.zip --json\n"
        "  edge-runtime bench --layout aisle-1/layout.json --frames photos/",
    )
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument("--layout", type=Path, metavar="FILE", help="layout.json of a camera; default: the demo camera's")
    verb.add_argument("--frames", type=Path, metavar="DIR", help="a folder of its pictures; default: its reference")
    verb.add_argument("--rounds", type=_count, default=FRAMES, metavar="N", help="frames to time (%(default)s)")
    verb.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of the model (%(default)s)")
    add_json(verb)
    verb.set_defaults(act=_bench)


def register_model_bench(kinds: Verbs) -> None:
    """Add `model bench` to the verbs of `model`."""
    verb = add_verb(
        kinds,
        "bench",
        "prove a bundle on this machine: golden answers, speed, memory, and which of its files would run",
        "Loads every file of a bundle in a process of its own, under limits, asks it its golden set and times the files\n"
        "in turn. Says which one this machine would run, and why. Exit code 1 if none passes.",
        "  edge-runtime model bench\n  edge-runtime model bench shelf-occupancy-1.1.0.zip --threads 2 --json",
    )
    verb.add_argument("bundle", type=Path, nargs="?", help="default: the newest that is installed")
    verb.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of the model (%(default)s)")
    add_json(verb)
    verb.set_defaults(act=_model_bench)


def _count(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number of 1 to 100000")
    return number


def _model_bench(args: argparse.Namespace) -> int:
    import dataclasses

    from edge_runtime.daemon.compose import default_bundle
    from edge_runtime.daemon.proving import prove

    path = args.bundle or default_bundle()
    proof = prove(path, threads=args.threads)
    if args.json:
        emit({"path": str(path), **dataclasses.asdict(proof)})
    else:
        _say_proof(path, proof)
    return EXIT_OK


def _say_proof(path: Path, proof: Proof) -> None:
    say(paint(f"{path}, {proof.threads} thread(s)", "bold"))
    rows = [
        (
            f"{found.variant}{' *' if found.variant is proof.chosen else ''}",
            "passes" if found.passed else "fails",
            f"{found.median_ms:.1f}",
            f"{found.p95_ms:.1f}",
            f"{found.wall_ms:.1f}",
            f"{found.load_ms:.0f}",
            f"{found.max_error:.2g} of {found.tolerance:.2g}",
            f"{found.memory_mb:.0f}",
        )
        for found in proof.variants
    ]
    header = ("file", "golden", "ms a run", "p95", "by the clock", "load ms", "error", "MB")
    say(table(header, rows, {"passes": "green", "fails": "red"}))
    say(f"* {proof.said}")


def _bench(args: argparse.Namespace) -> int:
    from edge_runtime.assets import demo_layout
    from edge_runtime.daemon.compose import default_bundle
    from edge_runtime.daemon.models import load_model
    from edge_runtime.layout import read_layout
    from edge_runtime.lifecycle.bundle import read_bundle

    if args.frames and not args.layout:
        raise Usage("--frames was given without --layout", "Name the layout.json of the camera that took them")
    layout = read_layout(args.layout or demo_layout())
    pictures = _pictures(args.frames) if args.frames else [layout.reference]
    loaded = load_model(read_bundle(args.model or default_bundle()), args.threads)
    figures = measure(layout, pictures, loaded, args.rounds) | {"threads": args.threads}
    if args.json:
        emit(figures)
    else:
        _say_figures(figures)
    return EXIT_OK


def _pictures(folder: Path) -> list[Path]:
    from edge_runtime.camera.still import SUFFIXES

    if not folder.is_dir():
        raise Unavailable(f"{folder} is no folder", "Name a folder of pictures of this camera")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise Refused(f"{folder} holds no picture", "Name a folder of JPEG, PNG, WebP, BMP or TIFF files")
    return found


def measure(layout: Layout, pictures: list[Path], loaded: LoadedModel, rounds: int) -> dict[str, object]:
    """Time `rounds` frames, pictures in turn, and the bare model after each.

    Raises what reading a picture raises, and Refused if not one picture could be used.
    """
    pipeline, reference_crops = _pipeline(layout, loaded)
    meter = Meter()
    for number in range(WARM_UP + rounds):
        meter.keep = number >= WARM_UP
        meter.take(pipeline, loaded, reference_crops, pictures[number % len(pictures)], number)
    if not meter.bare_ms:
        raise Refused(f"none of {rounds} frames was usable: {meter.reason}", "Name pictures of this layout's camera")
    return {
        "model": {"name": loaded.id.name, "version": loaded.id.version, "sha256": loaded.id.sha256},
        "file": loaded.variant.value,
        "slots": len(layout.slots),
        "frames": len(meter.bare_ms),
        "unusable": meter.unusable,
        **meter.figures(),
    }


def _pipeline(layout: Layout, loaded: LoadedModel) -> tuple[Pipeline, Image]:
    from edge_runtime.daemon.models import build_parts, thresholds_of
    from edge_runtime.drift.monitor import DriftMonitor
    from edge_runtime.normalize.reference import open_reference
    from edge_runtime.pipeline import Pipeline
    from edge_runtime.shelf.states import ShelfTracker

    normalizer, model = build_parts(layout, open_reference(layout), loaded)
    tracker = ShelfTracker("bench", layout, thresholds_of(loaded))
    return Pipeline(normalizer, model, tracker, [DriftMonitor("bench")]), normalizer.reference_crops


class Meter:
    """Milliseconds of every frame that was usable."""

    def __init__(self) -> None:
        self.keep = False
        self.stages: dict[str, list[float]] = {}
        self.bare_ms: list[float] = []
        self.frame_ms: list[float] = []
        self.unusable = 0
        self.reason = ""

    def take(self, pipeline: Pipeline, loaded: LoadedModel, reference: Image, path: Path, number: int) -> None:
        """One picture: decode, the frame path, then the bare model on the crops that the frame path fed it."""
        from edge_runtime.camera.still import decode_still
        from edge_runtime.inference.probe import bare_run
        from edge_runtime.records import Frame, View

        began = time.perf_counter()
        pixels = decode_still(path)
        decoded = time.perf_counter()
        frame = Frame("bench", number, pixels, time.time(), time.monotonic(), 1e3 * (decoded - began))
        stepping = time.perf_counter()
        outcome = pipeline.step(frame)
        stepped = time.perf_counter()
        if not isinstance(outcome.view, View):
            self.unusable += self.keep
            self.reason = outcome.view.detail or outcome.view.reason.value
            return
        run = bare_run(loaded.session, outcome.view, reference)
        running = time.perf_counter()
        run()
        ran = time.perf_counter()
        if not self.keep:
            return
        self.frame_ms.append(1e3 * (stepped - stepping))
        self.bare_ms.append(1e3 * (ran - running))
        for stage, ms in {"decode": frame.decode_ms, **outcome.ms}.items():
            if stage != "total":
                self.stages.setdefault(stage, []).append(ms)

    def figures(self) -> dict[str, object]:
        """Medians; `overhead` and `besides_ms` are medians over frames of the frame path against its own bare run."""
        pairs = list(zip(self.frame_ms, self.bare_ms, strict=True))
        return {
            "ms": {stage: round(statistics.median(ms), 3) for stage, ms in self.stages.items()},
            "decode_ms": round(statistics.median(self.stages["decode"]), 3),
            "frame_ms": round(statistics.median(self.frame_ms), 3),
            "frame_p95_ms": round(sorted(self.frame_ms)[int(0.95 * (len(self.frame_ms) - 1))], 3),
            "bare_ms": round(statistics.median(self.bare_ms), 3),
            "besides_ms": round(statistics.median(frame - bare for frame, bare in pairs), 3),
            "overhead": round(statistics.median(frame / bare for frame, bare in pairs), 3),
        }


def _say_figures(figures: dict[str, object]) -> None:
    model, stages = figures["model"], figures["ms"]
    assert isinstance(model, dict) and isinstance(stages, dict)
    say(
        paint(
            f"{model['name']} {model['version']} ({figures['file']}), {figures['slots']} slots,"
            f" {figures['frames']} frames, {figures['threads']} thread(s)",
            "bold",
        )
    )
    say(table(("stage", "ms (median)"), [(stage, f"{ms:.2f}") for stage, ms in stages.items()]))
    say(f"frame path without decoding  {figures['frame_ms']} ms (p95 {figures['frame_p95_ms']})")
    say(f"bare model on the same crops {figures['bare_ms']} ms")
    say(f"overhead                     {figures['overhead']} ({figures['besides_ms']} ms besides the model)")
    if figures["unusable"]:
        say(f"{figures['unusable']} frames were not usable and are not counted")
