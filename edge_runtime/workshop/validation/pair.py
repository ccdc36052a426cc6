"""Two files of one model over the same views: every frame is read and normalized once, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError, ModelFault
from edge_runtime.manifest import Thresholds
from edge_runtime.normalize.reference import open_reference
from edge_runtime.pipeline import Model
from edge_runtime.records import CropSpec, Frame, Image, Layout, Outcome, Scores, Unusable, View
from edge_runtime.shelf.reading import read_slots
from edge_runtime.workshop.field_bench.contenders import OURS
from edge_runtime.workshop.field_bench.dataset import BenchShelf, truths_of
from edge_runtime.workshop.field_bench.run import Progress, Sheet, frame_of
from edge_runtime.workshop.field_bench.verdicts import Said, Truths

Bind = Callable[[Layout, Image], Model]
"""A camera's layout and reference crops -> the model of that camera."""
PACKED, FLOAT = "packed", "float"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under validation."""

    crop: CropSpec
    thresholds: Thresholds
    packed: Bind
    """model.onnx."""
    float32: Bind | None
    """model.fp32.onnx; None if there is one file only."""


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """What both files said; n rows as `Truths`. With one file only both are the same."""

    truths: Truths
    packed: Said
    float32: Said
    alike: NDArray[np.bool_]
    """(n,) both have the same best label, of all that the model has; True where there was no view."""
    gap: NDArray[np.float32]
    """(n,) largest difference of any probability."""
    seen: NDArray[np.bool_]
    """(n,) there was a view."""
    unread: tuple[str, ...]


def run_pair(shelves: Sequence[BenchShelf], subject: Subject, progress: Progress | None = None) -> Paired:
    """Read every frame with both files. Raises ModelFault if one fails."""
    truths = truths_of(shelves)
    count, frames = len(truths), len(truths.frames)
    sheets = {PACKED: Sheet.blank(count, frames), FLOAT: Sheet.blank(count, frames)}
    alike, gap, seen = np.ones(count, np.bool_), np.zeros(count, np.float32), np.zeros(count, np.bool_)
    by_frame = np.split(np.argsort(truths.frame, kind="stable"), np.cumsum(np.bincount(truths.frame))[:-1])
    unread: list[str] = []
    number = 0
    for shelf in shelves:
        reader = _Reader(shelf, subject)
        for name in shelf.frames:
            rows, slots = by_frame[number], truths.slot[by_frame[number]]
            try:
                frame = frame_of(shelf.picture(name))
            except ModelFault:
                raise
            except EdgeError as fault:
                unread.append(str(fault))
            else:
                view, said = reader.read(frame)
                for key, scores in said.items():
                    sheets[key].write(number, rows, slots, reader.outcome(frame, view, scores))
                if (one := said[PACKED]) is not None and (other := said[FLOAT]) is not None:
                    packed, full = _all_labels(one)[slots], _all_labels(other)[slots]
                    alike[rows] = packed.argmax(1) == full.argmax(1)
                    gap[rows], seen[rows] = np.abs(packed - full).max(1), True
            number += 1
            if progress:
                progress(number, frames)
    return Paired(truths, sheets[PACKED].said, sheets[FLOAT].said, alike, gap, seen, tuple(unread))


class _Reader:
    """One shelf, one normalizer, two models."""

    def __init__(self, shelf: BenchShelf, subject: Subject) -> None:
        self._layout, self._thresholds = shelf.layout, subject.thresholds
        self._normalizer = OURS.make(shelf.layout, open_reference(shelf.layout), subject.crop)
        crops = self._normalizer.reference_crops
        self._packed = subject.packed(shelf.layout, crops)
        self._float = None if subject.float32 is None else subject.float32(shelf.layout, crops)

    def read(self, frame: Frame) -> tuple[View | Unusable, dict[str, Scores | None]]:
        view = self._normalizer.normalize(frame)
        if not isinstance(view, View):
            return view, {PACKED: None, FLOAT: None}
        packed = self._packed.infer(view)
        return view, {PACKED: packed, FLOAT: packed if self._float is None else self._float.infer(view)}

    def outcome(self, frame: Frame, view: View | Unusable, scores: Scores | None) -> Outcome:
        return Outcome(frame, view, scores, read_slots(self._layout, view, scores, self._thresholds), (), (), {})


def _all_labels(scores: Scores) -> NDArray[np.float32]:
    """(slots, 4): stocked, low, empty and blocked, summing to one."""
    blocked = scores.blocked[:, None]
    return np.concatenate([scores.probabilities * (1.0 - blocked), blocked], 1).astype(np.float32)
