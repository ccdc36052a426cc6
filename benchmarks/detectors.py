"""General detectors on shelves: does the decoding hold, and how far do classes that nobody taught about shelves go?

    python -m benchmarks.detectors MODELS FIELD [--only NAME ...] [--frames N] [--speed] [--json]

MODELS holds `yolox_nano/yolox_nano.onnx` and `fastestdet/FastestDet.onnx`, FIELD is a field dataset. Each description of
`models/detectors/` is packed as `build pack` does it, and every frame goes through the pipeline that `infer` runs, with and
without normalization. `filled` is balanced accuracy over slots with something in them (stocked or low) against empty ones,
`states` over stocked, low and empty; slots whose truth is blocked are left out, `unknown` and `blocked` count as wrong.
`answered` is the share of slots with an answer, `empty` recall and precision of that answer.

`--speed` times one view on one thread instead, in turns, beside the shipped slot model with 24 slots: the bare graph, and all
from canvas to boxes; medians of milliseconds. Compare figures of one run only.

Nothing of a description was chosen by these figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.camera.still import decode_still
from edge_runtime.daemon.compose import default_bundle, load_model, load_pipeline
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.records import Frame
from edge_runtime.workshop.detect import manifest_of, prepare_detector, read_description, sample_canvases
from edge_runtime.workshop.pack import write_bundle

DESCRIPTIONS = Path(__file__).parent.parent / "models" / "detectors"
FILES = {
    "yolox-nano": "yolox_nano/yolox_nano.onnx",
    "yolox-nano-objects": "yolox_nano/yolox_nano.onnx",
    "fastestdet": "fastestdet/FastestDet.onnx",
}
STATES = ("stocked", "low", "empty")
SAMPLES, SLOTS, ROUNDS = 4, 24, 60


@dataclass
class Tally:
    """What was said of slots, by truth."""

    said: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def figures(self) -> dict[str, float]:
        """Percent."""
        filled = {truth: self._share(("stocked", "low"), truth) for truth in ("stocked", "low")}
        several = sum(self._count(truth) for truth in filled)
        found = sum(share * self._count(truth) for truth, share in filled.items()) / max(1, several)
        empty = self._share(("empty",), "empty")
        called = sum(count for (_, said), count in self.said.items() if said == "empty")
        answered = sum(count for (_, said), count in self.said.items() if said in STATES)
        return {
            "filled": 50 * (found + empty),
            "states": 100 * float(np.mean([self._share((state,), state) for state in STATES])),
            "answered": 100 * answered / max(1, sum(self.said.values())),
            "empty_recall": 100 * empty,
            "empty_precision": 100 * self.said[("empty", "empty")] / max(1, called),
        }

    def _count(self, truth: str) -> int:
        return sum(count for (state, _), count in self.said.items() if state == truth)

    def _share(self, answers: tuple[str, ...], truth: str) -> float:
        return sum(self.said[(truth, said)] for said in answers) / max(1, self._count(truth))


def packed(name: str, models: Path, shelf: Path, folder: Path) -> Path:
    """A bundle of one description."""
    described = read_description(DESCRIPTIONS / f"{name}.toml")
    manifest = manifest_of(described, "not recorded", ("0.1.0", "2.0.0"))
    assert manifest.crop.canvas is not None
    model = (models / FILES[name]).read_bytes()
    frames = sorted((shelf / "frames").glob("lab-*.jpg"))[:SAMPLES]
    canvases = sample_canvases(manifest.crop.canvas, frames, shelf / "layout.json")
    made = prepare_detector(model, manifest, canvases, described.tolerance)
    members = {
        "model.onnx": model,
        "golden.npz": made.golden,
        "reference.npz": made.reference,
        "LICENSE": b"see MODELS\n",
    }
    return write_bundle(folder, made.manifest, members)


def run_shelf(shelf: Path, bundle: Path, raw: bool, tallies: dict[str, Tally], limit: int) -> None:
    """Fill the tallies by group."""
    _, _, pipeline = load_pipeline(shelf / "layout.json", bundle, raw=raw, stateless=True)
    with (shelf / "truth.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    frames = sorted({row["frame"] for row in truth})
    for number, frame in enumerate(frames[:: max(1, len(frames) // limit)] if limit else frames):
        pixels = decode_still(shelf / "frames" / f"{frame}.jpg")
        outcome = pipeline.step(Frame("bench", number, pixels, time.time(), float(number)))
        said = {reading.slot: reading.state.value for reading in outcome.readings}
        for row in truth:
            if row["frame"] == frame and row["state"] != "blocked":
                tallies[group_of(int(row["severity"]))].said[(row["state"], said[row["slot"]])] += 1


def group_of(severity: int) -> str:
    return "lab" if severity == 0 else "S1-S3" if severity <= 3 else "S4-S5"


def run(name: str, models: Path, field_set: Path, limit: int) -> list[dict[str, object]]:
    shelves = sorted((field_set / "shelves").iterdir())
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = packed(name, models, shelves[0], Path(folder))
        for raw in (True, False):
            tallies: dict[str, Tally] = defaultdict(Tally)
            for shelf in shelves:
                run_shelf(shelf, bundle, raw, tallies, limit)
            way = "raw" if raw else "normalized"
            for group in sorted(tallies, key=("lab", "S1-S3", "S4-S5").index):
                figures = {key: round(value, 1) for key, value in tallies[group].figures().items()}
                rows.append({"detector": name, "frames": group, "way": way, **figures})
    return rows


def speeds(names: list[str], models: Path, field_set: Path) -> list[dict[str, object]]:
    """Every runner in turn, so that a busy machine touches all alike."""
    shelf = sorted((field_set / "shelves").iterdir())[0]
    runners: dict[str, Callable[[], object]] = {}
    shipped = load_model(read_bundle(default_bundle()))
    width, height = shipped.manifest.input.size
    crops = np.random.default_rng(0).integers(0, 256, (SLOTS, height, width, 3), np.uint8)
    reference = shipped.session.prepare(crops)
    runners[f"{shipped.id.name}, {SLOTS} slots"] = lambda: shipped.session.run_prepared(crops, reference)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            bundle = read_bundle(packed(name, models, shelf, Path(folder)))
            session = load_model(bundle).session
            assert isinstance(session, DetectSession)
            canvas = bundle.golden_arrays()["canvas"][0]
            feeds = {session.spec.current: session.prepare(canvas[None])}
            runners[f"{name}, bare"] = partial(session.run_bare, feeds)
            runners[f"{name}, canvas to boxes"] = partial(session.boxes, canvas)
    spent: dict[str, list[float]] = {what: [] for what in runners}
    for _ in range(ROUNDS):
        for what, once in runners.items():
            began = time.perf_counter()
            once()
            spent[what].append(1e3 * (time.perf_counter() - began))
    return [{"what": what, "ms": round(float(np.median(times[5:])), 2)} for what, times in spent.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("field", type=Path)
    parser.add_argument("--only", nargs="*", choices=sorted(FILES), default=sorted(FILES))
    parser.add_argument("--frames", type=int, default=0, help="of each shelf, about this many, evenly; default: all")
    parser.add_argument("--speed", action="store_true", help="milliseconds instead of accuracy")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    parts = ([name] for name in args.only) if not args.speed else (args.only,)
    for part in parts:
        rows = (
            speeds(part, args.models, args.field) if args.speed else run(part[0], args.models, args.field, args.frames)
        )
        for row in rows:
            print(
                json.dumps(row) if args.json else "  ".join(f"{key} {value}" for key, value in row.items()), flush=True
            )


if __name__ == "__main__":
    main()
