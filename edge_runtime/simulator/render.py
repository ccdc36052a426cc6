"""One frame of a bay with the truth about it: `render(bay, stock, camera, light, sensor, occluders, rng)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.records import Image, State
from edge_runtime.simulator.bay import FULL, Bay, SlotPlan, Stock, corners
from edge_runtime.simulator.compose import stage
from edge_runtime.simulator.geometry import CameraPose, Points, Raster, homography, lens_maps, project
from edge_runtime.simulator.light import DAYLIGHT, Lighting, lit
from edge_runtime.simulator.sensor import Sensor, exposed
from edge_runtime.simulator.shoppers import Occluder, paint_occluder

BLOCKED_FROM = 0.5
"""Share of a slot that is covered from which its truth is `blocked`."""
PLAIN_SENSOR = Sensor()
_LEAST_ZOOM = 0.6
"""Below it the lens formula folds back on itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """A frame and what is true about it."""

    image: Image
    homography: Points
    """3x3, reference pixels -> pixels of this frame before its lens distorts; exact for the front plane."""
    covered: Mapping[str, float]
    """Slot id -> share that something stands in front of, or that is outside the picture; 0..1."""


def render(
    bay: Bay,
    stock: Stock,
    camera: CameraPose,
    light: Lighting = DAYLIGHT,
    sensor: Sensor = PLAIN_SENSOR,
    occluders: Sequence[Occluder] = (),
    rng: np.random.Generator | None = None,
) -> Rendering:
    """Render one frame. `rng` draws the noise only; without it the frame is still noisy, and always the same."""
    canvas = stage(bay, camera).compose(stock)
    cover: Raster = np.zeros(canvas.shape[:2], np.uint8)
    for thing in occluders:
        paint_occluder(canvas, cover, thing)
    if camera.k1:
        maps = lens_maps(camera.size, camera.k1)
        canvas = cv2.remap(canvas, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.remap(cover, *maps, cv2.INTER_LINEAR)
    picture = exposed(lit(canvas, light), sensor, rng or np.random.default_rng(bay.seed))
    hidden = {slot.id: covered_share(bay, slot, camera, cover if occluders else None) for slot in bay.slots}
    return Rendering(picture, homography(bay.reference, camera), hidden)


def hidden_shares(bay: Bay, camera: CameraPose, occluders: Sequence[Occluder]) -> dict[str, float]:
    """`Rendering.covered` without rendering."""
    if not occluders:
        return {slot.id: covered_share(bay, slot, camera, None) for slot in bay.slots}
    canvas = np.zeros((camera.size[1], camera.size[0], 3), np.uint8)
    cover: Raster = np.zeros(canvas.shape[:2], np.uint8)
    for thing in occluders:
        paint_occluder(canvas, cover, thing)
    if camera.k1:
        cover = cv2.remap(cover, *lens_maps(camera.size, camera.k1), cv2.INTER_LINEAR)
    return {slot.id: covered_share(bay, slot, camera, cover) for slot in bay.slots}


def truth(stock: Stock, slot: str, covered: float) -> State:
    """The state that a person with this picture should name."""
    return State.BLOCKED if covered >= BLOCKED_FROM else stock.get(slot, FULL).state


def covered_share(bay: Bay, slot: SlotPlan, camera: CameraPose, cover: Raster | None) -> float:
    """Share of a slot's outline that is covered or outside; `cover` is (height, width) uint8, None for nothing."""
    pixels = distorted(camera, project(camera, corners(bay, slot))[0]).astype(np.float32)
    whole = abs(cv2.contourArea(pixels))
    if whole < 1:
        return 1.0
    width, height = camera.size
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    inside = min(1.0, float(cv2.intersectConvexConvex(pixels, frame)[0]) / whole)
    if cover is None or inside == 0:
        return round(1 - inside, 4)
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int) + 1
    (x0, y0), (x1, y1) = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillConvexPoly(mask, np.round(pixels - (x0, y0)).astype(np.int32), 1)
    seen = int(mask.sum())
    share = float((cover[y0:y1, x0:x1][mask > 0] > 127).mean()) if seen else 0.0
    return round(1 - inside * (1 - share), 4)


def distorted(camera: CameraPose, pixels: Points) -> Points:
    """Pixels of the pinhole -> pixels of the real lens, by fixed-point iteration of the map in `geometry.lens_maps`.

    What a pincushion lens shows nowhere lands outside the picture.
    """
    if not camera.k1:
        return pixels
    centre = (np.array(camera.size) - 1) / 2
    reach = float(np.hypot(*camera.size)) / 2
    start = (pixels - centre) / reach
    at = start.copy()
    for _ in range(30):
        r2 = (at**2).sum(1, keepdims=True)
        at = start * (1 + max(camera.k1, 0.0)) / np.maximum(1 + camera.k1 * r2, _LEAST_ZOOM)
    return np.asarray(at * reach + centre, np.float64)
