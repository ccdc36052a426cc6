"""Angle: where the reference lies in a frame, from scratch; or that this is not the commissioned shelf."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
from edge_runtime.normalize.plausible import implausible, spread
from edge_runtime.normalize.warp import Points, Warp

MIN_INLIERS = 25
MIN_CELLS = 7
MIN_HULL = 0.15
INLIER_PX = 3.0
"""At ORB_WIDTH; scaled with the frame."""
_WIDTHS = {Kind.ORB: ORB_WIDTH, Kind.SIFT: SIFT_WIDTH}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a registration found. `warp` is None when it was refused, and `detail` says why."""

    warp: Warp | None
    inliers: int
    residual_px: float | None
    detail: str


class Registrar:
    """Finds the reference of one camera in any frame. Stateless but for the reference's own keypoints."""

    def __init__(self, reference: Grey) -> None:
        self._size = (reference.shape[1], reference.shape[0])
        self._greys = {kind: for_detector(working_grey(reference, width)) for kind, width in _WIDTHS.items()}
        self._features: dict[Kind, Features] = {}

    def register(self, grey: Grey) -> Fit:
        """Register a full-size grey frame."""
        best = self._attempt(grey, Kind.ORB)
        if best.warp is None:
            again = self._attempt(grey, Kind.SIFT)
            best = again if again.warp is not None or again.inliers > best.inliers else best
        return best

    def _attempt(self, grey: Grey, kind: Kind) -> Fit:
        size = (grey.shape[1], grey.shape[0])
        reference = self._reference(kind)
        frame = find(for_detector(working_grey(grey, _WIDTHS[kind])), kind, size)
        pairs = match(reference, frame, kind)
        if len(pairs) < 8:
            return Fit(None, len(pairs), None, f"{len(pairs)} keypoints match, {MIN_INLIERS} are needed")
        return self._fit(reference.points[pairs[:, 0]], frame.points[pairs[:, 1]], size)

    def _reference(self, kind: Kind) -> Features:
        if kind not in self._features:
            self._features[kind] = find(self._greys[kind], kind, self._size)
        return self._features[kind]

    def _fit(self, source: Points, target: Points, size: tuple[int, int]) -> Fit:
        limit = INLIER_PX * max(1.0, size[0] / ORB_WIDTH)
        found, mask = cv2.findHomography(
            source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=limit, maxIters=4000, confidence=0.999
        )
        if found is None:
            return Fit(None, 0, None, "the matching keypoints do not lie on one plane")
        homography = np.asarray(found, np.float64)
        chosen = mask.ravel().astype(bool)
        inliers = int(chosen.sum())
        fault = implausible(homography, self._size, size)
        cells, hull = spread(source[chosen], self._size)
        if not fault and inliers < MIN_INLIERS:
            fault = f"{inliers} keypoints agree, {MIN_INLIERS} are needed"
        if not fault and (cells < MIN_CELLS or hull < MIN_HULL):
            fault = f"the {inliers} keypoints that agree lie in one part of the shelf ({cells} cells)"
        if fault:
            return Fit(None, inliers, None, fault)
        warp = Warp(homography, size)
        off = np.hypot(*(warp.points(source[chosen]) - target[chosen]).T)
        scale = size[0] / self._size[0]
        return Fit(warp, inliers, float(np.median(off)) / scale, "")
