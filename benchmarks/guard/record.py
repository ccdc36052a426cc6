"""What every model of the pool answers on recorded store days, kept, with what the guard sees beside the answers.

usage: python -m benchmarks.guard.record [--seeds 1 2 ...]

Days are those of `python -m benchmarks.days` (seeds 1 to 10 to tune, 51 and up to report); they are rendered if they are
not there. One npz a day in var/tmp/guard/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.guard.pool import Pupil, pool
from edge_runtime.camera.recording import read_recording
from edge_runtime.cli.day_truth import read_truth
from edge_runtime.inference.confidence import calibrate, temperature, to_logits
from edge_runtime.layout import read_layout
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import ANSWERS, CropSpec, Frame, Image, Layout, View
from edge_runtime.shelf.witness import looks
from edge_runtime.simulator.record import record_day
from edge_runtime.simulator.trading import store_day

DAYS, KEEP, INTERVAL_S, HOURS = Path("var/tmp/days"), Path("var/tmp/guard"), 45.0, 4.0
DECISIONS = ("off", "commissioned", "applied", "refused", "unseen")


class Class:
    """All models of the pool before one shelf; models that want the same crops share a normalizer."""

    def __init__(self, pupils: Sequence[Pupil], layout: Layout, reference: Image) -> None:
        self.pupils = pupils
        self.normalizers: dict[CropSpec, Normalizer] = {}
        for pupil in pupils:
            self.normalizers.setdefault(pupil.manifest.crop, Normalizer(layout, reference, pupil.manifest.crop))
        self.references = [pupil.session.prepare(self._reference(pupil)) for pupil in pupils]

    def _reference(self, pupil: Pupil) -> Image:
        crops = self.normalizers[pupil.manifest.crop].reference_crops.copy()
        if pupil.blind:
            crops[:] = 128
        return np.ascontiguousarray(crops[..., ::-1]) if pupil.swap_colours else crops

    def answer(self, frame: Frame) -> tuple[View | None, NDArray[np.float16]]:
        """The view of the first model, and (models, slots, 4) probabilities with `blocked` last."""
        views = {crop: normalizer.normalize(frame) for crop, normalizer in self.normalizers.items()}
        rows = []
        for pupil, prepared in zip(self.pupils, self.references, strict=True):
            view = views[pupil.manifest.crop]
            if not isinstance(view, View):
                return None, np.zeros(0, np.float16)
            crops = np.ascontiguousarray(view.crops[..., ::-1]) if pupil.swap_colours else view.crops
            output = to_logits(pupil.session.run_prepared(crops, prepared), pupil.manifest.output.kind)
            heat = temperature(pupil.manifest.confidence, view.quality, view.sharpness, max(0.0, view.noise))
            shares, blocked = calibrate(output, pupil.manifest.output.labels, heat)
            rows.append(np.concatenate([shares, blocked[:, None]], 1))
        first = views[self.pupils[0].manifest.crop]
        return first if isinstance(first, View) else None, np.asarray(rows, np.float16)


def record(seed: int, pupils: Sequence[Pupil]) -> None:
    folder, target = DAYS / f"store-{seed}", KEEP / f"day-{seed}.npz"
    if not (folder / "day.json").exists():
        record_day(folder, store_day(seed, HOURS), INTERVAL_S, HOURS * 3600.0)
    layout = read_layout(folder / "layout.json")
    learners = Class(pupils, layout, open_reference(layout))
    truth = read_truth(folder / "truth.csv", INTERVAL_S)
    rows: dict[str, list[object]] = {}
    for frame in read_recording(folder / "frames", INTERVAL_S):
        seen = truth.at(frame.captured_monotonic_s, INTERVAL_S / 2)
        if seen is None:
            continue
        for name, value in _row(learners, layout, frame, [seen[slot.id] for slot in layout.slots]).items():
            rows.setdefault(name, []).append(value)
    references = looks(learners.normalizers[pupils[0].manifest.crop].reference_crops)
    KEEP.mkdir(parents=True, exist_ok=True)
    names = np.asarray([pupil.name for pupil in pupils])
    np.savez_compressed(target, names=names, reference=references, **{k: np.asarray(v) for k, v in rows.items()})


def _row(learners: Class, layout: Layout, frame: Frame, seen: Sequence[object]) -> dict[str, object]:
    count = len(layout.slots)
    view, answers = learners.answer(frame)
    row: dict[str, object] = {
        "t": frame.captured_monotonic_s,
        "usable": view is not None,
        "state": np.asarray([ANSWERS.index(one.stock) for one in seen], np.int8),  # type: ignore[attr-defined]
        "visible": np.asarray([one.visible for one in seen]),  # type: ignore[attr-defined]
    }
    if view is None:
        empty = {"looks": np.zeros((count, 144), np.float16), "quality": np.zeros((count, 3), np.float32)}
        shape = (len(learners.pupils), count, 4)
        return row | empty | {"answers": np.zeros(shape, np.float16), "scene": np.zeros(6, np.float32)}
    light, quality = view.light, view.quality
    scene = (
        view.registration.moved,
        np.mean(light.gain),
        light.residual_before,
        view.sharpness,
        light.applied,
        DECISIONS.index(light.decision),
    )
    return row | {
        "looks": looks(view.crops).astype(np.float16),
        "quality": np.stack([quality.inside, quality.saturated, quality.density], 1),
        "answers": answers,
        "scene": np.asarray(scene, np.float32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(1, 11), *range(51, 71)])
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    pupils = tuple(pool())
    for seed in asked.seeds:
        if not (KEEP / f"day-{seed}.npz").exists():
            record(seed, pupils)
        sys.stderr.write(f"day {seed}\n")


if __name__ == "__main__":
    main()
