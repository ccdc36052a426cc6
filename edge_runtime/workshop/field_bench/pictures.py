"""The report's pictures: which frames and which errors to show (pure), and how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import ANSWERS, Image, Layout, Outcome, State, Unusable, View
from edge_runtime.web.annotate import Tag, draw_slots
from edge_runtime.workshop.field_bench.table import FIELD_UP_TO, Comparison, Row, harmed

PANE_WIDTH, SMALL_WIDTH = 440, 300
WORST_SHOWN, HARMED_SHOWN = 4, 3
WRONG = (160, 20, 230)
"""BGR of the cross over a slot that was answered wrongly."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One frame to show, and why."""

    why: str
    row: Row
    frame: int
    """Place in `Truths.frames`."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One slot that was answered wrongly."""

    frame: int
    slot: int
    truth: int
    said: int
    confidence: float
    cell: tuple[str, int]


def choose_frames(comparison: Comparison, rows: Sequence[Row]) -> tuple[Chosen, ...]:
    """The conditions that got worse, the least accurate of the field, the worst where much is lost, and a good one."""
    field = [row for row in rows if row.of_field]
    worse = [Chosen("made worse", row, _least_right(comparison, row)) for row in rows if harmed(row)][:HARMED_SHOWN]
    taken = {one.row.key for one in worse}
    weak = sorted((row for row in field if row.key not in taken), key=lambda row: row.with_.value)[:WORST_SHOWN]
    least = [Chosen("least accurate", row, _least_right(comparison, row)) for row in weak]
    far = [row for row in rows if row.severity > FIELD_UP_TO and row.key not in taken]
    lost = sorted(far, key=lambda row: row.with_.value)[:1]
    hopeless = [Chosen("least accurate where much is lost", row, _least_right(comparison, row)) for row in lost]
    taken |= {one.row.key for one in least}
    gained = sorted((row for row in field if row.key not in taken), key=lambda row: -row.gain.value)[:1]
    good = [Chosen("most recovered", row, _most_gained(comparison, row)) for row in gained]
    return (*worse, *least, *hopeless, *good)


def mistakes(comparison: Comparison, most: int) -> tuple[Mistake, ...]:
    """Answers that are wrong, the most confident first."""
    truths, said = comparison.truths, comparison.said
    wrong = np.flatnonzero(comparison.answered & (said.state != truths.state))
    order = wrong[np.argsort(-said.confidence[wrong], kind="stable")][:most]
    return tuple(
        Mistake(
            int(truths.frame[k]),
            int(truths.slot[k]),
            int(truths.state[k]),
            int(said.state[k]),
            float(said.confidence[k]),
            truths.cells[truths.cell[k]],
        )
        for k in order
    )


def count_mistakes(comparison: Comparison) -> int:
    """All of them."""
    return int((comparison.answered & (comparison.said.state != comparison.truths.state)).sum())


def pane(picture: Image, width: int = PANE_WIDTH) -> Image:
    """A picture at the width of one of the report's panes."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def raw_verdicts(outcome: Outcome, layout: Layout, truth: Mapping[str, str]) -> Image:
    """The frame as captured, with what the raw crops led to, drawn where they were cut."""
    canvas = pane(outcome.frame.pixels)
    scale = np.array([canvas.shape[1], canvas.shape[0]]) / np.array(layout.image_size)
    return _verdicts(canvas, outcome, layout, truth, scale)


def view_verdicts(outcome: Outcome, layout: Layout, margin: float, truth: Mapping[str, str]) -> Image | None:
    """The normalized slots where they belong, with what they led to; None if the frame was refused.

    `margin` is that of the model's crops.
    Inside the slots are the very crops that the model was fed; around them is the rectified frame, paler.
    """
    if isinstance(outcome.view, Unusable):
        return None
    canvas = pane(_normalized(outcome.view, layout, margin))
    scale = np.array([canvas.shape[1], canvas.shape[0]]) / np.array(layout.image_size)
    return _verdicts(canvas, outcome, layout, truth, scale)


def _normalized(view: View, layout: Layout, margin: float) -> Image:
    homography, size = view.registration.homography, layout.image_size
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)
    if homography is not None:
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        straight = cv2.warpPerspective(view.frame.pixels, homography, size, flags=how)
        canvas = np.asarray(cv2.addWeighted(straight, 0.55, canvas, 0.45, 0), np.uint8)
    return _paste(canvas, view, layout, margin)


def _paste(canvas: Image, view: View, layout: Layout, margin: float) -> Image:
    height, width = view.crops.shape[1:3]
    for crop, slot in zip(view.crops, layout.slots, strict=True):
        edge = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
        inner = ((edge + margin) / (1 + 2 * margin) * (width, height) - 0.5).astype(np.float32)
        polygon = np.asarray(slot.polygon, np.float32)
        matrix = cv2.getPerspectiveTransform(inner, polygon)
        laid = cv2.warpPerspective(
            crop, matrix, layout.image_size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        mask = np.zeros(canvas.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.round(polygon).astype(np.int32), 255)
        canvas[mask > 0] = laid[mask > 0]
    return canvas


def _verdicts(
    canvas: Image, outcome: Outcome, layout: Layout, truth: Mapping[str, str], scale: NDArray[np.float64]
) -> Image:
    tags = {reading.slot: Tag(reading.state, reading.confidence) for reading in outcome.readings}
    drawn = draw_slots(canvas, layout.slots, tags, lambda polygon: np.asarray(polygon, np.float64) * scale)
    for slot in layout.slots:
        state = tags[slot.id].state
        if slot.id in truth and truth[slot.id] != State.BLOCKED and state in ANSWERS and state != truth[slot.id]:
            _cross(drawn, np.asarray(slot.polygon, np.float64) * scale)
    return drawn


def _cross(canvas: Image, corners: NDArray[np.float64]) -> None:
    inner = corners.mean(0) + 0.62 * (corners - corners.mean(0))
    points = [(round(float(x)), round(float(y))) for x, y in inner]
    for a, b in ((0, 2), (1, 3)):
        cv2.line(canvas, points[a], points[b], (255, 255, 255), 5, cv2.LINE_AA)
        cv2.line(canvas, points[a], points[b], WRONG, 3, cv2.LINE_AA)


def _least_right(comparison: Comparison, row: Row) -> int:
    return _frame_with_most(comparison, row, comparison.seen & (comparison.said.state != comparison.truths.state))


def _most_gained(comparison: Comparison, row: Row) -> int:
    truth = comparison.truths.state
    mended = comparison.seen & (comparison.said.state == truth) & (comparison.raw.state != truth)
    return _frame_with_most(comparison, row, mended)


def _frame_with_most(comparison: Comparison, row: Row, wanted: NDArray[np.bool_]) -> int:
    truths = comparison.truths
    here = truths.cell == truths.cells.index(row.key)
    numbers = np.unique(truths.frame[here])
    found = np.bincount(truths.frame[here & wanted], minlength=len(truths.frames))
    return int(numbers[found[numbers].argmax()])
