"""Angle: where the reference lies in a frame, from scratch; or that this is not the commissioned shelf.

Three steps. Keypoints propose a plane (MAGSAC, Barath et al. 2019); anchors make it exact, rails and price strips
first, with a lens term where that is worth it; then the anchors' surroundings say whether this is the same shelf.
Another bay of the same chain, with the same rails and even the same products, matches in places, but its surroundings
do not agree all over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.anchors import Anchors, Sightings
from edge_runtime.normalize.features import (
    ORB_WIDTH,
    SIFT_WIDTH,
    Features,
    Grey,
    Kind,
    find,
    for_detector,
    match,
    working_grey,
)
from edge_runtime.normalize.identity import Identity
from edge_runtime.normalize.plausible import implausible, spread
from edge_runtime.normalize.solve import polish
from edge_runtime.normalize.warp import Points, Warp, scaling
from edge_runtime.records import Layout

MIN_SIDE_PX = 32
"""ORB's pyramid has no level left of a picture of a few lines."""
MIN_INLIERS = 12
MIN_CELLS = 4
INLIER_PX = 3.0
"""At ORB_WIDTH; scaled with the frame."""
NEAR_PX = 4.0
"""An anchor agrees with a warp if it is found this near (reference pixels, at 960 px width)."""
REST_PX = 0.5
"""A camera that shows every slot's corners this near to where it was commissioned (reference pixels, at 960 px width)
has not moved: what is left is the error of the fit, and the reference's own geometry is the better answer."""
MIN_RAILS, MIN_RAIL_HULL = 16, 0.08
MIN_AGREEING = 24
MIN_RAIL_ANCHORS = 12
FIRM = 0.1
"""Where rails alone determine the plane, what is not on them weighs this much less: it stands behind the rails, and a
few pixels of parallax on one side of the picture bend the whole plane."""
_WIDTHS = {Kind.ORB: ORB_WIDTH, Kind.SIFT: SIFT_WIDTH}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a registration found. `warp` is None when it was refused, and `detail` says why."""

    warp: Warp | None
    inliers: int
    residual_px: float | None
    """Median error of the static anchors that agree, in reference pixels."""
    detail: str
    share: float = 0.0
    """Agreeing anchors, of those that lie in the frame."""
    rail_share: float = 0.0
    """Agreeing anchors on rails, of those that lie in the frame."""
    evidence: float = 0.0
    """That this is the commissioned shelf: `identity.Identity.agreement`."""


class Registrar:
    """Finds the reference of one camera in any frame. Stateless but for the reference's own keypoints."""

    def __init__(self, layout: Layout, reference: Grey) -> None:
        self._size = (reference.shape[1], reference.shape[0])
        self._near = NEAR_PX * self._size[0] / ORB_WIDTH
        self._rest = REST_PX * self._size[0] / ORB_WIDTH
        self._corners = np.asarray([slot.polygon for slot in layout.slots], np.float64).reshape(-1, 2)
        self.anchors = Anchors(layout, reference)
        self._identity = Identity(layout, self.anchors.flat)
        self._greys = {kind: for_detector(working_grey(reference, width)) for kind, width in _WIDTHS.items()}
        self._features: dict[Kind, Features] = {}

    def register(self, grey: Grey) -> Fit:
        """Register a full-size grey frame from scratch."""
        if min(grey.shape) < MIN_SIDE_PX:
            return Fit(None, 0, None, f"the picture is {grey.shape[1]}x{grey.shape[0]}")
        if len(self.anchors.static) < MIN_AGREEING:
            return Fit(
                None,
                0,
                None,
                f"the reference picture itself shows {len(self.anchors.static)} marks, {MIN_AGREEING} are needed",
            )
        best = Fit(None, 0, None, "")
        for kind in Kind:
            fit = self._attempt(grey, kind)
            if fit.warp is not None:
                return fit
            best = fit if (fit.evidence, fit.inliers) >= (best.evidence, best.inliers) else best
        return best

    def follow(self, grey: Grey, last: Warp) -> Fit:
        """Register a frame whose camera can only have moved a little since `last`; no keypoints are sought."""
        return self._settle(grey, last, 0)

    def _attempt(self, grey: Grey, kind: Kind) -> Fit:
        size = (grey.shape[1], grey.shape[0])
        reference = self._reference(kind)
        frame = find(for_detector(working_grey(grey, _WIDTHS[kind])), kind, size)
        pairs = match(reference, frame, kind)
        if len(pairs) < MIN_INLIERS:
            return Fit(None, len(pairs), None, f"{len(pairs)} keypoints match, {MIN_INLIERS} are needed")
        return self._propose(grey, reference.points[pairs[:, 0]], frame.points[pairs[:, 1]])

    def _reference(self, kind: Kind) -> Features:
        if kind not in self._features:
            self._features[kind] = find(self._greys[kind], kind, self._size)
        return self._features[kind]

    def _propose(self, grey: Grey, source: Points, target: Points) -> Fit:
        size = (grey.shape[1], grey.shape[0])
        limit = INLIER_PX * max(1.0, size[0] / ORB_WIDTH)
        found, mask = cv2.findHomography(
            source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=limit, maxIters=4000, confidence=0.999
        )
        if found is None:
            return Fit(None, 0, None, "the matching keypoints do not lie on one plane")
        warp = Warp(np.asarray(found, np.float64), size)
        chosen = mask.ravel().astype(bool)
        inliers = int(chosen.sum())
        fault = implausible(warp.homography, self._size, size) or _too_few(inliers, source[chosen], self._size)
        if fault:
            return Fit(None, inliers, None, fault)
        warp, _ = polish(warp, self._size, source, target, np.ones(len(source)), 2.5 * limit / INLIER_PX)
        return self._settle(grey, warp, inliers)

    def _settle(self, grey: Grey, warp: Warp, inliers: int) -> Fit:
        """From a rough warp to the exact one, and whether it is this shelf."""
        seen = self.anchors.sight(grey, warp)
        warp = self._exact(seen, warp)
        again = seen.off[seen.agree & seen.static]
        if len(again) and float(np.median(again)) > self._near:
            seen = self.anchors.sight(grey, warp)
            warp = self._exact(seen, warp)
        warp = self._at_rest(warp)
        evidence = self._identity.agreement(self.anchors.unwarped(grey, warp), warp)
        error = np.hypot(*(warp.points(seen.source) - seen.target).T) * self._size[0] / warp.size[0]
        return self._judged(seen, warp, np.nan_to_num(error, nan=1e3), Fit(None, inliers, None, "", evidence=evidence))

    def _at_rest(self, warp: Warp) -> Warp:
        """The commissioned geometry itself where `warp` says the same to a fraction of a pixel."""
        plain = Warp(scaling(self._size, warp.size), warp.size)
        off = np.hypot(*(warp.points(self._corners) - plain.points(self._corners)).T) * self._size[0] / warp.size[0]
        return plain if (off < self._rest).all() else warp

    def _exact(self, seen: Sightings, warp: Warp) -> Warp:
        good = seen.agree
        if good.sum() < MIN_INLIERS:
            return warp
        source, target, weights = seen.source[good], seen.target[good], seen.weights[good]
        rail = seen.rail[good]
        if self._firm(source[rail]):
            weights = np.where(rail, weights, FIRM * weights)
        unit = max(0.5, warp.size[0] / self._size[0])
        starts = [warp, *self._by_rails(source[rail], target[rail], warp, 1.5 * unit)]
        rough = [polish(start, self._size, source, target, weights, 1.6 * unit) for start in starts]
        best = min(rough, key=lambda found: found[1])[0]
        return polish(best, self._size, source, target, weights, 0.6 * unit)[0]

    def _by_rails(self, source: Points, target: Points, warp: Warp, limit: float) -> list[Warp]:
        """A second start, from rails alone: keypoints may have settled on the back panel."""
        if not self._firm(source):
            return []
        found, _ = cv2.findHomography(source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=limit)
        if found is None or implausible(np.asarray(found, np.float64), self._size, warp.size):
            return []
        return [Warp(np.asarray(found, np.float64), warp.size)]

    def _firm(self, rails: Points) -> bool:
        """Whether these points determine a plane by themselves."""
        return len(rails) >= MIN_RAILS and spread(rails, self._size)[1] >= MIN_RAIL_HULL

    def _judged(self, seen: Sightings, warp: Warp, error: NDArray[np.float64], fit: Fit) -> Fit:
        agree = seen.agree & (error < self._near)
        count, rails = int(agree.sum()), agree[seen.rail]
        share = count / max(1, len(agree))
        rail_share = float(rails.mean()) if len(rails) >= MIN_RAIL_ANCHORS else share
        fit = replace(fit, share=share, rail_share=rail_share)
        fault = implausible(warp.homography, self._size, warp.size)
        if not fault and fit.evidence < self._identity.needed:
            fault = (
                f"what is written on the shelf's rails agrees by {fit.evidence:.2f}, {self._identity.needed} is needed; "
                f"{100 * share:.0f} % of the shelf's marks are where they were commissioned"
            )
        if not fault and count < MIN_AGREEING:
            fault = f"{count} of the shelf's marks are where they were commissioned, {MIN_AGREEING} are needed"
        if fault:
            return replace(fit, detail=fault)
        exact = agree & seen.rail
        residual = float(np.median(error[exact if exact.sum() >= 8 else agree]))
        return replace(fit, warp=warp, inliers=max(fit.inliers, count), residual_px=residual)


def _too_few(inliers: int, points: Points, size: tuple[int, int]) -> str:
    if inliers < MIN_INLIERS:
        return f"{inliers} keypoints agree, {MIN_INLIERS} are needed"
    cells, _ = spread(points, size)
    return "" if cells >= MIN_CELLS else f"the {inliers} keypoints that agree lie in one part of the shelf"
