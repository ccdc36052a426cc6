"""Re-centring of embeddings: what a camera adds to all of its slots alike is taken away again.

A shift is how far the stocked slots of a group (all frames of a camera, or one visit of it: the frames of one
condition) lie from where they should be. Which slots are stocked is known (a person said so; here the truth says so,
which makes it a bound, since no device has it), or most slots of a visit are assumed to be (the median).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Groups = NDArray[np.integer]


def groups_of(*columns: NDArray[np.generic]) -> Groups:
    """(n,) a number for every combination of the columns that occurs."""
    names = np.array(["/".join(map(str, row)) for row in zip(*columns, strict=True)])
    return np.asarray(np.unique(names, return_inverse=True)[1])


def mean_shift(difference: Array, groups: Groups, chosen: NDArray[np.bool_]) -> Array:
    """(n, w) the mean of the chosen rows of each row's group; nothing where a group has none."""
    total = np.zeros((int(groups.max()) + 1, difference.shape[1]), np.float64)
    np.add.at(total, groups[chosen], difference[chosen])
    count = np.bincount(groups[chosen], minlength=len(total))
    return np.asarray((total / np.maximum(count, 1)[:, None])[groups], np.float32)


def median_shift(difference: Array, groups: Groups) -> Array:
    """(n, w) the median of each row's group: right as long as most of its slots are as commissioned."""
    out = np.empty_like(difference)
    for group in np.unique(groups):
        rows = groups == group
        out[rows] = np.median(difference[rows], 0)
    return out


def shifts(
    difference: Array, camera: Groups, visit: Groups, stocked: NDArray[np.bool_], home: Array
) -> dict[str, Array]:
    """The three shifts of slots by name; `home` (w,) is what stocked slots differ by where the head was fitted.

    A group without one stocked slot is not shifted at all.
    """
    known = {"camera, known stocked": camera, "visit, known stocked (bound)": visit}
    found = {}
    for name, groups in known.items():
        some = np.isin(groups, groups[stocked])[:, None]
        found[name] = np.where(some, mean_shift(difference, groups, stocked) - home, np.float32(0))
    return found | {"visit, median": median_shift(difference, visit) - home}
