"""Runs one model over a dataset, each picture decoded once for all contenders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.camera.still import decode_still
from edge_runtime.errors import EdgeError
from edge_runtime.manifest import Thresholds
from edge_runtime.normalize.reference import open_reference
from edge_runtime.pipeline import Model, Normalizer
from edge_runtime.records import CropSpec, Frame, Image, Layout, Outcome, RegistrationStatus, View
from edge_runtime.shelf.reading import read_slots
from edge_runtime.workshop.field_bench.contenders import Contender
from edge_runtime.workshop.field_bench.dataset import BenchShelf, truths_of
from edge_runtime.workshop.field_bench.verdicts import NO_GUESS, REASON_TYPE, STATES, UNKNOWN, UNREADABLE, Said, Truths

CONFIDENCE_DIGITS = 6
"""As `infer` prints it, so that whoever scores its lines gets the same bins."""
Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


@dataclass(frozen=True, slots=True)
class ModelPart:
    """What the bench needs of a loaded model."""

    crop: CropSpec
    thresholds: Thresholds
    bind: Callable[[Layout, Image], Model]
    """Layout and reference crops -> the model of that camera."""


@dataclass(frozen=True, slots=True, eq=False)
class Benched:
    """Everything that was said, by contender."""

    truths: Truths
    said: Mapping[str, Said]
    unread: Mapping[int, str]
    """Place in `Truths.frames` -> why the picture could not be read; its slots are `unknown` for every contender."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One shelf as one contender sees it."""

    shelf: BenchShelf
    normalizer: Normalizer
    model: Model
    thresholds: Thresholds

    def read(self, frame: Frame) -> Outcome:
        """One photograph of its own, as `infer` reads it."""
        view = self.normalizer.normalize(frame)
        scores = self.model.infer(view) if isinstance(view, View) else None
        readings = read_slots(self.shelf.layout, view, scores, self.thresholds)
        return Outcome(frame, view, scores, readings, (), (), {})


def open_reader(shelf: BenchShelf, reference: Image, contender: Contender, part: ModelPart) -> Reader:
    """A contender on one shelf; `reference` is the shelf's commissioned picture."""
    normalizer = contender.make(shelf.layout, reference, part.crop)
    return Reader(shelf, normalizer, part.bind(shelf.layout, normalizer.reference_crops), part.thresholds)


def frame_of(path: Path) -> Frame:
    """A picture file as a frame. Raises Unavailable or Refused, as `decode_still` does."""
    return Frame("camera", 0, decode_still(path), time.time(), time.monotonic())


def run_bench(
    shelves: Sequence[BenchShelf], contenders: Sequence[Contender], part: ModelPart, progress: Progress | None = None
) -> Benched:
    """Read every frame of every shelf with every contender. Raises what `open_reference` and a failing model raise."""
    truths = truths_of(shelves)
    sheets = {contender.name: Sheet.blank(len(truths), len(truths.frames)) for contender in contenders}
    unread: dict[int, str] = {}
    number = 0
    by_frame = np.split(np.argsort(truths.frame, kind="stable"), np.cumsum(np.bincount(truths.frame))[:-1])
    for shelf in shelves:
        reference = open_reference(shelf.layout)
        readers = {c.name: open_reader(shelf, reference, c, part) for c in contenders}
        for name in shelf.frames:
            try:
                frame = frame_of(shelf.picture(name))
            except EdgeError as fault:
                unread[number] = str(fault)
            else:
                rows = by_frame[number]
                for key, reader in readers.items():
                    sheets[key].write(number, rows, truths.slot[rows], reader.read(frame))
            number += 1
            if progress:
                progress(number, len(truths.frames))
    return Benched(truths, {name: sheet.said for name, sheet in sheets.items()}, unread)


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A `Said` that is being written, one frame at a time."""

    said: Said

    @classmethod
    def blank(cls, rows: int, frames: int) -> Sheet:
        """Nothing read yet: all unknown."""
        return cls(
            Said(
                state=np.full(rows, UNKNOWN, np.int8),
                confidence=np.zeros(rows),
                best=np.full(rows, NO_GUESS, np.int8),
                reason=np.full(rows, UNREADABLE, REASON_TYPE),
                registered=np.zeros(frames, np.bool_),
                relit=np.zeros(frames, np.bool_),
            )
        )

    def write(self, frame: int, rows: NDArray[np.intp], slots: NDArray[np.int32], outcome: Outcome) -> None:
        """Take one frame's readings; `rows` of the sheet are the layout's `slots`."""
        said = self.said
        said.state[rows] = [STATES.index(outcome.readings[slot].state) for slot in slots]
        said.confidence[rows] = [round(outcome.readings[slot].confidence, CONFIDENCE_DIGITS) for slot in slots]
        said.reason[rows] = [outcome.readings[slot].reason for slot in slots]
        if outcome.scores is not None:
            said.best[rows] = outcome.scores.probabilities[slots].argmax(1)
        said.registered[frame] = outcome.view.registration.status is RegistrationStatus.OK
        said.relit[frame] = outcome.view.light.applied
