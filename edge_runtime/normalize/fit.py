"""What a registration found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.features import ORB_WIDTH
from edge_runtime.normalize.warp import Warp

LOST_PX = 12.0
"""Standard deviation of a corner (reference pixels, at ORB_WIDTH) from which a slot's place is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a registration found. `warp` is None when it was refused, and `detail` says why."""

    warp: Warp | None
    inliers: int
    """Agreeing keypoints or agreeing anchors, whichever are more."""
    residual_px: float | None
    """Median error of the agreeing anchors on rails (of all where few rails are seen), in reference pixels."""
    detail: str
    share: float = 0.0
    """Agreeing anchors, of those that lie in the frame."""
    rail_share: float = 0.0
    """As `share`, of the anchors on rails; of all where the frame shows few on rails."""
    corner_sigma_px: NDArray[np.float64] | None = None
    """(slots,) how uncertain the worst corner of each slot is, in reference pixels; None when refused, and for a camera
    that stands where it was commissioned."""
    evidence: float = 0.0
    """That this is the commissioned shelf: `identity.Identity.agreement`."""

    def certain(self, inside: NDArray[np.float32], reference: tuple[int, int]) -> NDArray[np.float32]:
        """`inside` (slots,) with 0 for slots whose place is so uncertain that nothing may be read there."""
        if self.corner_sigma_px is None:
            return inside
        lost = self.corner_sigma_px > LOST_PX * reference[0] / ORB_WIDTH
        return np.where(lost, np.float32(0.0), inside).astype(np.float32)
