"""Counting and its figures. Pure: a confusion table (..., 3, 5) in, shares 0..1 out, nan where there is nothing to count.

Axis -2 is the true state (stocked, low, empty: blocked truths are left out), axis -1 what was said (those three, blocked,
unknown). Leading axes are kept, so that 2,000 resamples cost one call.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.workshop.field_bench.verdicts import ANSWERED, BLOCKED, STATES, Truths

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]
GAP = 0.05
"""A condition that costs the raw model less than this has no gap to recover."""


def confusion(truths: Truths, said: NDArray[np.int8]) -> Counts:
    """(shelves, cells, 3, 5): slots by true and said state, blocked truths left out."""
    shape = (len(truths.shelves), len(truths.cells), ANSWERED, len(STATES))
    seen = truths.state != BLOCKED
    place = (truths.shelf[seen], truths.cell[seen], truths.state[seen], said[seen])
    flat = np.ravel_multi_index(place, shape)
    return np.asarray(np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape), np.float64)


def accuracy(counts: Counts) -> Floats:
    """Balanced accuracy: the mean recall of the classes that occur; blocked and unknown answers are wrong."""
    return _mean_recall(counts, counts.sum(-1))


def answered(counts: Counts) -> Floats:
    """Balanced accuracy of the slots that got one of the three answers."""
    return _mean_recall(counts, counts[..., :ANSWERED].sum(-1))


def coverage(counts: Counts) -> Floats:
    """Share of the slots that got one of the three answers."""
    return share(counts[..., :ANSWERED].sum((-1, -2)), counts.sum((-1, -2)))


def recall(counts: Counts, state: int) -> Floats:
    """Share of the slots that are `state` and were called so."""
    return share(counts[..., state, state], counts[..., state, :].sum(-1))


def precision(counts: Counts, state: int) -> Floats:
    """Share of the slots called `state` that are so."""
    return share(counts[..., state, state], counts[..., :, state].sum(-1))


def plain(counts: Counts) -> Floats:
    """Share of the answers that are right, every slot counting the same."""
    right = np.trace(counts[..., :ANSWERED], axis1=-2, axis2=-1)
    return share(right, counts[..., :ANSWERED].sum((-1, -2)))


def confident_errors(counts: Counts) -> Floats:
    """Share of all slots that were answered, and wrongly."""
    right = np.trace(counts[..., :ANSWERED], axis1=-2, axis2=-1)
    return share(counts[..., :ANSWERED].sum((-1, -2)) - right, counts.sum((-1, -2)))


def recovered(with_: Floats, without: Floats, lab: Floats) -> Floats:
    """GR = (with - without) / (lab - without): 1 closes the gap, 0 changes nothing, below 0 does harm."""
    gap = lab - without
    blank = np.full(np.broadcast(with_, gap).shape, np.nan)
    return np.asarray(np.divide(with_ - without, gap, out=blank, where=gap != 0), np.float64)


def has_gap(without: Floats, lab: Floats) -> NDArray[np.bool_]:
    """Where the raw model loses at least GAP against its own lab figure."""
    return np.asarray(100 * lab - 100 * without >= 100 * GAP)


def resampled(counts: Counts, weights: NDArray[np.int64]) -> Counts:
    """(shelves, ...) and (resamples, shelves) to (resamples, ...)."""
    return np.asarray(np.tensordot(weights.astype(np.float64), counts, axes=(1, 0)), np.float64)


def draw_weights(shelves: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """(resamples, shelves): how often each shelf is drawn, with replacement (Efron 1979)."""
    return np.random.default_rng(seed).multinomial(shelves, np.full(shelves, 1 / shelves), size=resamples)


def share(part: Floats, whole: Floats) -> Floats:
    """part / whole, nan where the whole is nothing."""
    where = np.asarray(whole) > 0
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=where), np.float64)


def _mean_recall(counts: Counts, whole: Floats) -> Floats:
    recalls = share(np.diagonal(counts[..., :ANSWERED], axis1=-2, axis2=-1), whole)
    there = ~np.isnan(recalls)
    return share(np.where(there, recalls, 0.0).sum(-1), there.sum(-1).astype(np.float64))
