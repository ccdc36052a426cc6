"""layout.json (`shelf-layout/1`): read, check everything at once, write."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.records import Layout, Quad, Slot

MAX_SLOTS = 512
MAX_BYTES = 1_000_000
MAX_SIDE_PX = 16_384
MIN_AREA_PX = 64.0
OVERLAP_ALLOWED = 0.10
"""Share of the smaller slot: neighbouring facings share an edge and are drawn by hand."""
OUTSIDE_ALLOWED_PX = 2.0
MAX_OVERLAPS_NAMED = 20


class _SlotFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    sku: str
    polygon: list[tuple[float, float]]


class _LayoutFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["shelf-layout/1"]
    reference: str
    image_size: tuple[int, int]
    slots: list[_SlotFile]


def read_layout(path: Path) -> Layout:
    """Read and check a layout.

    Raises Unavailable if the file is not there, BadConfig with every fault found otherwise. The reference picture is
    named, not opened: its size is checked where it is read (`normalize.reference`).
    """
    raw = _bytes_of(path)
    try:
        parsed = msgspec.json.decode(raw, type=_LayoutFile)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(
            f"{path} is not a shelf-layout/1 file: {fault}", "See `edge-runtime camera commission --help`"
        ) from None
    faults = tuple(f"{path}: {fault}" for fault in _faults(parsed))
    if faults:
        raise BadConfig("\n".join(faults), "Draw the named slots again with `edge-runtime camera commission`", faults)
    slots = tuple(Slot(s.id, s.sku, _quad(s.polygon)) for s in parsed.slots)
    return Layout(path, path.parent / parsed.reference, parsed.image_size, slots)


def write_layout(path: Path, reference: str, image_size: tuple[int, int], slots: tuple[Slot, ...]) -> None:
    """Write a layout beside its reference picture; `reference` is the picture's name relative to the layout."""
    record = _LayoutFile(
        "shelf-layout/1",
        reference,
        image_size,
        [_SlotFile(s.id, s.sku, [(round(x, 2), round(y, 2)) for x, y in s.polygon]) for s in slots],
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BadConfig(f"{path} is a folder, a layout file was expected", f"Try {path / 'layout.json'}")
        if path.stat().st_size > MAX_BYTES:
            raise BadConfig(
                f"{path} has more than {MAX_BYTES} bytes, which no layout needs",
                "Name the layout.json of the camera",
            )
        return path.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"layout {path} can not be read: {fault.strerror}",
            "Make one with `edge-runtime camera commission`",
        ) from None


def _quad(points: list[tuple[float, float]]) -> Quad:
    a, b, c, d = points
    return (a, b, c, d)


def _faults(layout: _LayoutFile) -> list[str]:
    faults = _frame_faults(layout)
    seen: set[str] = set()
    good: list[tuple[str, NDArray[np.float32]]] = []
    for number, slot in enumerate(layout.slots):
        fault = _slot_fault(slot, layout.image_size)
        if not slot.id or len(slot.id) > 64 or not slot.id.isprintable() or set(slot.id) & set("/#+"):
            faults.append(
                f"slot {number} has the id {slot.id[:70]!r}; 1 to 64 printable characters without / # + were expected"
            )
        if slot.id in seen:
            faults.append(f"slot id {slot.id!r} is given twice; ids must be unique")
        seen.add(slot.id)
        if fault:
            faults.append(f"slot {slot.id!r}: {fault}")
        else:
            good.append((slot.id, np.asarray(slot.polygon, np.float32)))
    return faults + (_overlaps(good) if len(good) <= MAX_SLOTS else [])


def _frame_faults(layout: _LayoutFile) -> list[str]:
    faults = []
    width, height = layout.image_size
    if not (16 <= width <= MAX_SIDE_PX and 16 <= height <= MAX_SIDE_PX):
        faults.append(f"image_size is {width}x{height}; each side must be 16 to {MAX_SIDE_PX}")
    if not 1 <= len(layout.slots) <= MAX_SLOTS:
        faults.append(f"{len(layout.slots)} slots; 1 to {MAX_SLOTS} were expected")
    name = Path(layout.reference)
    if not layout.reference.isprintable() or not name.name or name.is_absolute() or ".." in name.parts:
        faults.append(f"reference {layout.reference!r} must be a file name beside the layout, without '..'")
    return faults


def _slot_fault(slot: _SlotFile, size: tuple[int, int]) -> str:
    if len(slot.polygon) != 4:
        return f"the polygon has {len(slot.polygon)} points, 4 were expected"
    if not all(math.isfinite(v) for point in slot.polygon for v in point):
        return "the polygon holds a coordinate that is not a finite number"
    outside = [
        p
        for p in slot.polygon
        if not all(-OUTSIDE_ALLOWED_PX <= p[k] <= size[k] - 1 + OUTSIDE_ALLOWED_PX for k in (0, 1))
    ]
    if outside:
        return f"the corner {outside[0]} leaves the {size[0]}x{size[1]} picture"
    corners = np.asarray(slot.polygon, np.float32)
    if not cv2.isContourConvex(corners):
        return (
            "the corners do not form a convex shape; give them in order: top left, top right, bottom right, bottom left"
        )
    if abs(cv2.contourArea(corners)) < MIN_AREA_PX:
        return f"the polygon covers {abs(cv2.contourArea(corners)):.0f} pixels, at least {MIN_AREA_PX:.0f} are needed"
    return ""


def _overlaps(slots: list[tuple[str, NDArray[np.float32]]]) -> list[str]:
    faults: list[str] = []
    boxes = {name: (quad.min(0), quad.max(0)) for name, quad in slots}
    for (a, qa), (b, qb) in combinations(slots, 2):
        if (boxes[a][1] <= boxes[b][0]).any() or (boxes[b][1] <= boxes[a][0]).any():
            continue
        shared = cv2.intersectConvexConvex(qa, qb)[0]
        if len(faults) == MAX_OVERLAPS_NAMED:
            return [*faults, "more slots overlap; they are not listed"]
        smaller = min(abs(cv2.contourArea(qa)), abs(cv2.contourArea(qb)))
        if shared > OVERLAP_ALLOWED * smaller:
            faults.append(
                f"slots {a!r} and {b!r} overlap by {100 * shared / smaller:.0f} % of the smaller; at most {100 * OVERLAP_ALLOWED:.0f} % is allowed"
            )
    return faults
