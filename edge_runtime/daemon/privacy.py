"""What of a picture may leave the device: the rules, on pixels. Pure; who may see what is `[mqtt] snapshots`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import ANSWERS, Image, Outcome, Slot, View

GREY = 114
"""Of everything that is not shown."""
GROW = 0.45
"""Of a face's box, on each side: hair, ears and a chin that the box cut off are covered too."""
BLUR_CELLS = 6
"""A blurred face is at most so many cells wide: nobody is recognised from that."""

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class FaceFinder(Protocol):
    """Where faces may be (`faces.Faces`)."""

    def find(self, pixels: Image) -> Sequence[Box]: ...


def only_slots(outcome: Outcome, slots: Sequence[Slot]) -> Image | None:
    """The picture with everything grey but the slots that this very frame answered: what stands in front of the shelf
    makes a slot `blocked` or unsure, and then it is grey as well. None where the slots were not found in the frame."""
    homography = outcome.view.registration.homography
    if homography is None or not isinstance(outcome.view, View):
        return None
    answered = {reading.slot for reading in outcome.readings if reading.state in ANSWERS}
    if outcome.statuses:
        answered &= {status.slot for status in outcome.statuses if status.state in ANSWERS}
    outlines = {slot.id: _outline(slot, homography) for slot in slots}
    if any(line is None and slot not in answered for slot, line in outlines.items()):
        return None  # nobody knows where that is which must not be shown
    pixels = outcome.frame.pixels
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for slot, line in sorted(
        outlines.items(), key=lambda each: each[0] not in answered
    ):  # what hides has the last word
        if line is not None:
            cv2.fillPoly(mask, [line], 255 if slot in answered else 0)  # one by one: together, overlaps cancel out
    found: Image = np.where(mask[:, :, None] > 0, pixels, np.uint8(GREY))
    return found


def without_faces(pixels: Image, faces: FaceFinder) -> tuple[Image, int]:
    """A copy with every face that is found made unrecognisable; how many there were."""
    boxes = faces.find(pixels)
    return blurred(pixels, boxes), len(boxes)


def blurred(pixels: Image, boxes: Iterable[Box]) -> Image:
    """A copy with the boxes, and GROW around each, reduced to a few cells of colour."""
    found = pixels.copy()
    for x, y, width, height in boxes:
        x0, y0 = max(0, int(x - GROW * width)), max(0, int(y - GROW * height))
        x1 = min(pixels.shape[1], int(np.ceil(x + (1 + GROW) * width)))
        y1 = min(pixels.shape[0], int(np.ceil(y + (1 + GROW) * height)))
        if x1 <= x0 or y1 <= y0:
            continue
        cells = (min(BLUR_CELLS, x1 - x0), min(BLUR_CELLS, y1 - y0))
        # from what was there before any box: overlapping boxes must not make cells of cells
        small = cv2.resize(pixels[y0:y1, x0:x1], cells, interpolation=cv2.INTER_AREA)
        found[y0:y1, x0:x1] = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return found


def _outline(slot: Slot, homography: NDArray[np.float64]) -> NDArray[np.int32] | None:
    """The slot's polygon in the frame; None if it lies behind the camera or far outside."""
    corners = np.array(slot.polygon, np.float64).reshape(-1, 1, 2)
    scale = np.concatenate([corners[:, 0], np.ones((len(corners), 1))], axis=1) @ homography[2]
    if not (scale > 0).all() and not (scale < 0).all():
        return None
    points = cv2.perspectiveTransform(corners, homography)
    if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        return None
    return np.round(points).astype(np.int32)
