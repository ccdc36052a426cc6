"""The exact front plane from anchors that were found: rails first, and where they are not of one mind, other planes."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.anchors import Sightings
from edge_runtime.normalize.features import ORB_WIDTH
from edge_runtime.normalize.plausible import implausible, spread
from edge_runtime.normalize.solve import polish
from edge_runtime.normalize.solve import uncertainty as spread_of
from edge_runtime.normalize.warp import Points, Warp, scaling
from edge_runtime.records import Layout

MIN_INLIERS = 12
RAIL_PX, FAR_PX = 0.3, 3.0
"""How far from the front plane's picture an anchor on a rail and one elsewhere are, at least (reference pixels)."""
DRAWS = (1, 2)
"""Seeds of the random samples from which other planes are proposed."""
REST_PX = 0.5
"""A camera that shows every slot's corners this near to where it was commissioned (reference pixels, at 960 px width)
has not moved: what is left is the error of the fit, and the reference's own geometry is the better answer."""
MIN_RAILS, MIN_RAIL_HULL = 16, 0.08
FIRM = 0.03
"""Where rails alone determine the plane, what is not on them weighs this much less: it stands behind the rails, and a
few pixels of parallax on one side of the picture bend the whole plane."""


class Planes:
    """Fits warps of one layout's front plane."""

    def __init__(self, layout: Layout) -> None:
        self._size = layout.image_size
        self._rest = REST_PX * self._size[0] / ORB_WIDTH
        self._corners = np.asarray([slot.polygon for slot in layout.slots], np.float64).reshape(-1, 2)

    def others(self, seen: Sightings, warp: Warp) -> Iterator[Warp]:
        """Other planes that a part of the anchors agrees with: which of them is right only the whole picture can say."""
        good = seen.agree
        source, target, rail = seen.source[good], seen.target[good], seen.rail[good]
        weights, unit = self._pull(seen), max(0.5, warp.size[0] / self._size[0])
        for chosen in (rail, np.ones_like(rail)):
            for draw in DRAWS if chosen.sum() >= MIN_INLIERS else ():
                found, _ = cv2.findHomography(source[chosen], target[chosen], params=_drawn(draw, 2.0 * unit))
                if found is not None and not implausible(np.asarray(found, np.float64), self._size, warp.size):
                    start = Warp(np.asarray(found, np.float64), warp.size)
                    yield self.at_rest(polish(start, self._size, source, target, weights, 0.6 * unit)[0])

    def _pull(self, seen: Sightings) -> NDArray[np.float64]:
        """Weights of the agreeing anchors."""
        weights, rail = seen.weights[seen.agree], seen.rail[seen.agree]
        firm = self._firm(seen.source[seen.agree][rail])
        return np.asarray(np.where(rail, weights, FIRM * weights) if firm else weights, np.float64)

    def at_rest(self, warp: Warp) -> Warp:
        """The commissioned geometry itself where `warp` says the same to a fraction of a pixel."""
        plain = Warp(scaling(self._size, warp.size), warp.size)
        return plain if self.apart(warp, plain) < self._rest else warp

    def apart(self, one: Warp, other: Warp) -> float:
        """Largest distance between two warps of one frame over the slots' corners, in reference pixels."""
        off = np.hypot(*(one.points(self._corners) - other.points(self._corners)).T) * self._size[0] / one.size[0]
        return float(np.nan_to_num(off, nan=np.inf).max(initial=0.0))

    def exact(self, seen: Sightings, warp: Warp) -> Warp:
        """The warp that most of the agreeing anchors are of one mind about, from a rough one."""
        good = seen.agree
        if good.sum() < MIN_INLIERS:
            return warp
        source, target, weights, rail = seen.source[good], seen.target[good], self._pull(seen), seen.rail[good]
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

    def uncertainty(
        self, seen: Sightings, warp: Warp, agree: NDArray[np.bool_], error: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(slots,) standard deviation of each slot's worst corner, reference pixels."""
        unit = warp.size[0] / self._size[0]
        rails = error[agree & seen.rail]
        near = max(RAIL_PX, float(np.median(rails)) if len(rails) else FAR_PX)
        noise = np.where(seen.rail, near, FAR_PX)[agree] * unit
        sigma = spread_of(warp, self._size, seen.source[agree], noise, self._corners) / unit
        return np.asarray(sigma.reshape(-1, 4).max(1), np.float64)

    def _firm(self, rails: Points) -> bool:
        """Whether these points determine a plane by themselves."""
        return len(rails) >= MIN_RAILS and spread(rails, self._size)[1] >= MIN_RAIL_HULL


def _drawn(seed: int, limit: float) -> cv2.UsacParams:
    """MAGSAC with this seed, `limit` in frame pixels."""
    chosen = cv2.UsacParams()
    chosen.threshold, chosen.maxIterations, chosen.confidence = limit, 2000, 0.9999
    chosen.randomGeneratorState = seed
    chosen.sampler, chosen.score = cv2.SAMPLING_UNIFORM, cv2.SCORE_METHOD_MAGSAC
    chosen.loMethod = cv2.LOCAL_OPTIM_INNER_LO
    return chosen
