"""Angle: where the reference lies in a frame, from scratch; or that this is not the commissioned shelf.

Three steps. Keypoints propose a plane (MAGSAC, Barath et al. 2019); anchors make it exact, rails and price strips
first, with a lens term where that is worth it; then the anchors' surroundings say whether this is the same shelf.
Another bay of the same chain, with the same rails and even the same products, matches in places, but its surroundings
do not agree all over.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from edge_runtime.normalize.fit import Fit
from edge_runtime.normalize.identity import Identity
from edge_runtime.normalize.planes import MIN_INLIERS, Planes
from edge_runtime.normalize.plausible import implausible, spread
from edge_runtime.normalize.solve import polish
from edge_runtime.normalize.warp import NO_LENS, Points, Warp, scaling
from edge_runtime.records import Layout

MIN_SIDE_PX = 32
"""ORB's pyramid has no level left of a picture of a few lines."""
MIN_CELLS = 4
"""Cells of `plausible.spread` that agreeing keypoints must lie in."""
MIN_STIFF, STIFF_PX = 6, 12.0
"""Keypoints that must agree with a plane without perspective, and how nearly (at ORB_WIDTH)."""
ROUNDS = 5
SURE, GAIN = 0.72, 0.01
"""Evidence that needs no second look at the anchors, and the gain that is worth another; at most ROUNDS looks."""
INLIER_PX = 3.0
"""At ORB_WIDTH; scaled with the frame."""
NEAR_PX = 4.0
"""An anchor agrees with a warp if it is found this near (reference pixels, at 960 px width)."""
MIN_AGREEING = 24
"""Anchors that must agree before a frame is believed to show the shelf."""
MIN_RAIL_ANCHORS = 12
"""Anchors on rails that a frame must show for their share to mean anything."""
MIN_RESIDUALS = 8
"""Agreeing anchors on rails from which their error alone is the residual."""
Pairs = tuple[Points, Points]
"""Matching keypoints: (n, 2) reference pixels, (n, 2) frame pixels."""
_WIDTHS = {Kind.ORB: ORB_WIDTH, Kind.SIFT: SIFT_WIDTH}


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One look at the anchors, and the warp that came of it."""

    evidence: float
    warp: Warp
    seen: Sightings | None

    def settled(self, near: float) -> bool:
        """Whether nothing is to be gained from another look."""
        if self.seen is None:
            return False
        off = self.seen.off[self.seen.agree & self.seen.static]
        return len(off) == 0 or (self.evidence >= SURE and float(np.median(off)) <= near)


class Registrar:
    """Finds the reference of one camera in any frame. Stateless but for the reference's own keypoints."""

    def __init__(self, layout: Layout, reference: Grey) -> None:
        self._size = (reference.shape[1], reference.shape[0])
        self._near = NEAR_PX * self._size[0] / ORB_WIDTH
        self._planes = Planes(layout)
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
        for fit in self._attempts(grey):
            if fit.warp is not None:
                return fit
            best = fit if (fit.evidence, fit.inliers) >= (best.evidence, best.inliers) else best
        return best

    def _attempts(self, grey: Grey) -> Iterator[Fit]:
        """One way after another, the usual first; later ones cost only frames that the earlier ones did not settle."""
        size = (grey.shape[1], grey.shape[0])
        matched: list[Pairs] = []
        for kind in Kind:
            pairs = self._matched(grey, kind)
            matched.append(pairs)
            yield self._propose(grey, *pairs)
        for source, target in matched:
            yield self._propose_stiff(grey, source, target)
        yield self._settle(grey, Warp(scaling(self._size, size), size), 0)

    def follow(self, grey: Grey, last: Warp) -> Fit:
        """Register a frame whose camera can only have moved a little since `last`; no keypoints are sought."""
        return self._settle(grey, last, 0)

    def _matched(self, grey: Grey, kind: Kind) -> Pairs:
        size = (grey.shape[1], grey.shape[0])
        reference = self._reference(kind)
        frame = find(for_detector(working_grey(grey, _WIDTHS[kind])), kind, size)
        pairs = match(reference, frame, kind)
        return reference.points[pairs[:, 0]], frame.points[pairs[:, 1]]

    def _reference(self, kind: Kind) -> Features:
        if kind not in self._features:
            self._features[kind] = find(self._greys[kind], kind, self._size)
        return self._features[kind]

    def _propose(self, grey: Grey, source: Points, target: Points) -> Fit:
        if len(source) < MIN_INLIERS:
            return Fit(None, len(source), None, f"{len(source)} keypoints match, {MIN_INLIERS} are needed")
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

    def _propose_stiff(self, grey: Grey, source: Points, target: Points) -> Fit:
        """As `_propose`, without perspective: few keypoints, or keypoints in one part of the shelf, would bend a plane."""
        size = (grey.shape[1], grey.shape[0])
        if len(source) < MIN_STIFF:
            return Fit(None, len(source), None, f"{len(source)} keypoints match, {MIN_STIFF} are needed")
        limit = STIFF_PX * max(1.0, size[0] / ORB_WIDTH)
        found, mask = cv2.estimateAffine2D(source, target, ransacReprojThreshold=limit, maxIters=4000, confidence=0.999)
        inliers = 0 if found is None else int(mask.sum())
        if inliers < MIN_STIFF:
            return Fit(None, inliers, None, f"{inliers} keypoints agree, {MIN_STIFF} are needed")
        warp = Warp(np.vstack([np.asarray(found, np.float64), [0.0, 0.0, 1.0]]), size)
        fault = implausible(warp.homography, self._size, size)
        return Fit(None, inliers, None, fault) if fault else self._settle(grey, warp, inliers)

    def _settle(self, grey: Grey, warp: Warp, inliers: int) -> Fit:
        """From a rough warp to the exact one, and whether it is this shelf.

        Anchors that a rough warp shows askew are not found; so one looks again while that makes the evidence better.
        """
        best = Look(-2.0, warp, None)
        for number in range(ROUNDS):
            look = self._looked(grey, warp)
            gained = look.evidence - best.evidence
            best = look if gained > 0 else best
            if look.settled(self._near) or (number and gained < GAIN):
                break
            warp = look.warp
        seen = best.seen
        assert seen is not None
        error = np.hypot(*(best.warp.points(seen.source) - seen.target).T) * self._size[0] / warp.size[0]
        found = Fit(None, inliers, None, "", evidence=best.evidence)
        return self._judged(seen, best.warp, np.nan_to_num(error, nan=1e3), found)

    def _looked(self, grey: Grey, warp: Warp) -> Look:
        """The anchors from a rough warp, and the exact warp that has the best evidence of those they allow."""
        seen = self.anchors.sight(grey, warp)
        exact = self._planes.at_rest(self._planes.exact(seen, warp))
        if seen.picture is not None and self._planes.apart(exact, warp) < self._near:
            rough = self._identity.agreement(seen.picture, warp)
            if rough >= SURE:  # the exact warp agrees better still, and need not be asked
                return Look(rough, exact, seen)
        best = Look(self._evidence(grey, exact), exact, seen)
        if best.evidence >= SURE:
            return best
        for other in self._planes.others(seen, warp):
            evidence = self._evidence(grey, other)
            best = Look(evidence, other, seen) if evidence > best.evidence else best
        return best

    def _evidence(self, grey: Grey, warp: Warp) -> float:
        return self._identity.agreement(self.anchors.unwarped(grey, warp), warp)

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
        on_rails = agree & seen.rail
        plain = np.allclose(warp.homography, scaling(self._size, warp.size)) and warp.lens == NO_LENS
        sigma = None if plain else self._planes.uncertainty(seen, warp, agree, error)
        residual = float(np.median(error[on_rails if on_rails.sum() >= MIN_RESIDUALS else agree]))
        return replace(fit, warp=warp, inliers=max(fit.inliers, count), residual_px=residual, corner_sigma_px=sigma)


def _too_few(inliers: int, points: Points, size: tuple[int, int]) -> str:
    if inliers < MIN_INLIERS:
        return f"{inliers} keypoints agree, {MIN_INLIERS} are needed"
    cells, _ = spread(points, size)
    return "" if cells >= MIN_CELLS else f"the {inliers} keypoints that agree lie in one part of the shelf"
