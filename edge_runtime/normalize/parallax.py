"""Packs stand behind the rail: when the camera has moved, the plane of their fronts shifts against the rail's.

Plane and parallax (Irani & Anandan 1996, Sawhney 1994): every plane that is parallel to the front plane is seen through
H + s e n', where H belongs to the front plane, e is the epipole and n' the front plane's horizon in the reference. A
commissioned camera faces its shelf, so n' is (0, 0, 1) to first order, and one vector, s e, brings the fronts of all
packs that stand equally far back to where they stood in the reference. It is found from the packs themselves: anchors
in slots that look as commissioned vote, robustly; packs that were sold, moved back or swapped do not agree and are
outvoted. Where too few agree, the rail's plane is kept: nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.anchors import SLOT_WEIGHT, Anchors, Sightings
from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.solve import Frames
from edge_runtime.normalize.warp import NO_LENS, Points, Warp, bend, scaling
from edge_runtime.records import Image, Layout

Floats = NDArray[np.float64]
MIN_VOTES = 16
MIN_SLOTS = 3
"""Anchors that must agree, and slots that they must stand in."""
MIN_SHARE = 0.25
"""Share of the anchors found in slots that must agree."""
AGREE_PX = 1.6
"""Reference pixels at 960 px width within which an anchor agrees."""
MOST = 0.16
"""Half widths of the picture: no pack stands so far back that it shifts by more."""
ZOOM = 0.25
"""The third part of the vector is a zoom; it is held near zero by this prior spread."""
ROUNDS = 300
"""Pairs of anchors that are tried."""
FAR_PX = 1e5
AGAIN = 30
"""Frames after which packs that did not say are asked again."""
PLAIN = 0.6
"""With this share of votes at the rail's own place nothing further back is sought."""
FOCAL = 2.0
"""Half widths: a usual shop camera sees 53 degrees."""
FACING = 0.7
"""Cosine between shelf and picture from which the decomposed motion is that of a camera before the shelf."""
DEPTHS = (0.05, 0.1, 0.16)
"""Shares of the camera's distance behind the rail at which packs are sought."""


class PacksPlane:
    """Finds the plane of the packs' fronts of one camera."""

    def __init__(self, layout: Layout, anchors: Anchors) -> None:
        self._enough = len(layout.slots) >= MIN_SLOTS
        self._size = layout.image_size
        self._anchors = anchors
        self._slots = np.full((self._size[1], self._size[0]), -1, np.int16)
        self._rail: Warp | None = None
        self._last = NO_PARALLAX
        self._age = 0
        for row, slot in enumerate(layout.slots):
            cv2.fillConvexPoly(self._slots, np.asarray(slot.polygon, np.float32).round().astype(np.int32), row)

    def kept(self, image: Image, rail: Warp) -> Parallax:
        """The packs' plane in the next frame of a stream; sought anew only when `rail`, its front plane, has changed.

        Where the packs did not say, they are asked again every AGAIN frames.
        """
        if rail is self._rail and (self._last.votes or self._age % AGAIN):
            self._age += 1
            return self._last
        self._rail, self._age, self._last = rail, 1, self.plane(image, rail)
        return self._last

    def plane(self, image: Image, rail: Warp) -> Parallax:
        """The packs' plane in a frame of its own, whose front plane is `rail`.

        A camera that stands where it was commissioned has no parallax, and fewer than MIN_SLOTS slots can not say.
        """
        at_rest = rail.lens == NO_LENS and np.allclose(rail.homography, scaling(self._size, rail.size), atol=1e-9)
        if at_rest or not self._enough:
            return NO_PARALLAX
        return self.find(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), rail)

    def find(self, grey: Grey, rail: Warp) -> Parallax:
        """Look at a full-size grey frame whose front plane is known.

        Packs far behind the rail are sought where the camera's own motion says that they would be.
        """
        best = self._seen_from(grey, rail, rail)
        if best.share < PLAIN:
            for start in self._hypotheses(rail):
                found = self._seen_from(grey, rail, start)
                best = found if found.weight > best.weight else best
        if best.warp is not None:
            again = self._seen_from(grey, rail, best.warp)
            best = again if again.weight >= best.weight else best
        return best

    def _seen_from(self, grey: Grey, rail: Warp, start: Warp) -> Parallax:
        seen = self._anchors.sight(grey, start)
        x, y = seen.source.round().astype(np.intp).T
        inside = (x >= 0) & (y >= 0) & (x < self._size[0]) & (y < self._size[1])
        slot_of = np.full(len(x), -1, np.intp)
        slot_of[inside] = self._slots[y[inside], x[inside]]
        return packs_plane(seen, slot_of, rail, self._size)

    def _hypotheses(self, rail: Warp) -> list[Warp]:
        """Planes behind the rail by the camera's motion, for a usual focal length (Malis & Vargas 2007)."""
        frames = Frames(self._size, rail.size)
        focal = np.diag([FOCAL, FOCAL, 1.0])
        flat = np.linalg.inv(focal) @ frames.normalized(rail.homography) @ focal
        count, turns, steps, normals = cv2.decomposeHomographyMat(flat, np.eye(3))
        if not count:
            return []
        facing = [float(abs(normal[2, 0])) for normal in normals]
        chosen = int(np.argmax(facing))
        turn, step = np.asarray(turns[chosen]), np.asarray(steps[chosen]) * np.sign(normals[chosen][2, 0])
        if not facing[chosen] >= FACING:
            return []
        planes = [turn + step @ np.array([[0.0, 0.0, 1.0 / (1.0 + depth)]]) for depth in DEPTHS]
        base = turn + step @ np.array([[0.0, 0.0, 1.0]])
        moved = [focal @ (flat + flat[2, 2] / base[2, 2] * (plane - base)) @ np.linalg.inv(focal) for plane in planes]
        return [Warp(frames.pixels(matrix), rail.size, rail.lens) for matrix in moved]


@dataclass(frozen=True, slots=True, eq=False)
class Parallax:
    """What was found: the warp of the packs' fronts, or the rail's own where the packs do not say."""

    warp: Warp | None
    """None: the rail's own."""
    votes: int = 0
    share: float = 0.0
    """Of the anchors that look as commissioned, those that agree."""
    shift_px: float = 0.0
    """Median shift of the agreeing anchors against the rail's plane, reference pixels."""

    @property
    def weight(self) -> float:
        """Votes, those of a divided shelf counting less."""
        return self.votes * self.share


NO_PARALLAX = Parallax(None)


def packs_plane(seen: Sightings, slot_of: NDArray[np.intp], rail: Warp, reference: tuple[int, int]) -> Parallax:
    """The warp of the packs' fronts from anchors sighted with the rail's warp.

    `slot_of` (n,): slot of each sighted anchor, -1 outside every slot; `reference`: (width, height) of the reference.
    """
    chosen = seen.agree & (slot_of >= 0) & (seen.weights == SLOT_WEIGHT)
    if chosen.sum() < MIN_VOTES:
        return NO_PARALLAX
    slots = slot_of[chosen]
    half, middle = rail.size[0] / 2, (np.array(rail.size) - 1) / 2
    wanted, target, depth = _against(rail, seen.source[chosen], seen.target[chosen])
    limit = AGREE_PX * max(1.0, reference[0] / 960) * rail.size[0] / reference[0] / half
    vector = _consensus(wanted, target, depth, slots, limit)
    if vector is None:
        return NO_PARALLAX
    off = _error(vector, wanted, target, depth)
    agree = off < 1.5 * limit
    if agree.sum() < MIN_VOTES or agree.mean() < MIN_SHARE or len(np.unique(slots[agree])) < MIN_SLOTS:
        return NO_PARALLAX
    homography = rail.homography.copy()
    homography[:, 2] += [*(vector[:2] * half + vector[2] * middle), vector[2]]
    shift = np.hypot(*(wanted[agree] / depth[agree, None]).T) * reference[0] / 2
    return Parallax(
        Warp(homography / homography[2, 2], rail.size, rail.lens),
        int(agree.sum()),
        float(agree.mean()),
        float(np.median(shift)),
    )


def _against(rail: Warp, source: Points, target: Points) -> tuple[Points, Points, Floats]:
    """What `_solved` is asked: (n, 2) how far behind the rail's plane each anchor asks its own to lie, (n, 2) where it was
    seen with the lens taken out, (n,) its depth on the rail's plane; in half widths about the middle of the frame."""
    half, middle = rail.size[0] / 2, (np.array(rail.size) - 1) / 2
    homogeneous = np.column_stack([source, np.ones(len(source))]) @ rail.homography.T
    depth = homogeneous[:, 2]
    base = (homogeneous[:, :2] - depth[:, None] * middle) / half
    place = (straight(target, rail) - middle) / half
    return place * depth[:, None] - base, place, depth


def _consensus(wanted: Points, target: Points, depth: Floats, slots: NDArray[np.intp], limit: float) -> Floats | None:
    """RANSAC over pairs of anchors from different slots, then Tukey's weights; None if nothing plausible agrees.

    Each slot weighs alike however many anchors it shows.
    """
    weights = 1.0 / np.sqrt(np.bincount(slots)[slots])
    tried = _candidates(wanted, target, depth, slots)
    off = wanted[None] - tried[:, None, :2] + tried[:, None, 2:] * target[None]
    error = np.hypot(off[..., 0], off[..., 1]) / np.abs(depth[None] + tried[:, 2:])
    scores = (weights * np.clip(1 - (error / (2 * limit)) ** 2, 0, 1)).sum(1)
    best: Floats = tried[int(np.argmax(scores))]
    for _ in range(8):
        robust = weights * np.clip(1 - (_error(best, wanted, target, depth) / (2.5 * limit)) ** 2, 0, 1) ** 2
        if (robust > 0).sum() < 4:
            return None
        best = _solved(wanted[None], target[None], depth[None], robust[None])[0]
    return best


def _candidates(wanted: Points, target: Points, depth: Floats, slots: NDArray[np.intp]) -> Floats:
    """(k, 3) plausible vectors of random pairs of anchors, and no parallax at all."""
    draw = Random(1)  # numpy.random weighs 2.6 MB
    pairs = np.array([draw.sample(range(len(wanted)), 2) for _ in range(ROUNDS)], np.intp)
    pairs = pairs[slots[pairs[:, 0]] != slots[pairs[:, 1]]]
    vectors = _solved(wanted[pairs], target[pairs], depth[pairs], np.ones(pairs.shape))
    plausible = (np.abs(vectors[:, :2]).max(1) < MOST * depth.mean()) & (np.abs(vectors[:, 2]) < ZOOM)
    return np.concatenate([np.zeros((1, 3)), vectors[plausible]])


def _solved(wanted: Floats, target: Floats, depth: Floats, weights: Floats) -> Floats:
    """Weighted least squares of wanted = (ex, ey) - ew target, with a weak prior on the zoom; k problems at once.

    `wanted` and `target` (k, n, 2), `depth` and `weights` (k, n); (k, 3).
    """
    rows = np.zeros((*wanted.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -target
    scaled = rows * (weights / depth**2)[..., None, None]
    normal = np.einsum("knij,knil->kjl", scaled, rows)
    normal += weights.sum(1)[:, None, None] * np.diag([1e-6, 1e-6, 3e-3])
    wish = np.einsum("knij,kni->kj", scaled, wanted)
    return np.asarray(np.linalg.solve(normal, wish[..., None])[..., 0], np.float64)


def _error(vector: Floats, wanted: Points, target: Points, depth: Floats) -> Floats:
    """(n,) distance in half widths of the frame."""
    off = wanted - vector[:2] + vector[2] * target
    return np.asarray(np.hypot(off[:, 0], off[:, 1]) / np.abs(depth + vector[2]), np.float64)


def straight(points: Points, warp: Warp) -> Points:
    """Frame pixels with the lens taken out; fixed point of `bend`."""
    if warp.lens == NO_LENS:
        return points
    found = points.copy()
    for _ in range(12):
        # A bend that can not be undone runs away; a point so far out agrees with nothing.
        found = np.clip(found + points - bend(found, warp.size, warp.lens), -FAR_PX, FAR_PX)
    return found
