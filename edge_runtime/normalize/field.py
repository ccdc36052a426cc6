"""A gain of the light over the reference: its shape, and how it is fitted to probes.

Quadratic over the reference in log gain, per channel, by iteratively reweighted least squares with Tukey's weights. A
probe whose channel stands at the sensor's ceiling bounds the gain from above and says no more (Tobin, Estimation of
relationships for limited dependent variables, 1958): it counts while the field exceeds that bound. Where a hard shadow
or mains bands remain, a local average and a row-wise sinusoid are tried on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

REACH = 0.13
"""Sigma of the local average in half widths of the reference."""
MAX_LOG_GAIN = 2.8
ROUNDS, SETTLED = 8, 2e-3
BANDS_FROM = 32
"""Probes that a sinusoid needs."""
BAND_CYCLES = np.arange(1.5, 26.0, 0.5)
BAND_FALL = 0.65
LOCAL_FROM = 0.035
"""Upper quartile of what the smooth part leaves below which no shadow is sought."""
LOCAL_TOLERANCE, LOCAL_AGREED, LOCAL_FALL = 0.2, 0.7, 0.6
_RIDGE = np.array([1e-5, 0.002, 0.002, 0.015, 0.015, 0.015])
"""Per coefficient: the field is flat unless the probes insist, ..."""
_RIDGE_PROBES = 100.0
"""... and fewer probes than this must insist the more."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A log gain over the reference (and over the frame's rows)."""

    coefficients: Floats
    """(6, 3): 1, x, y, x^2, xy, y^2 for B, G, R."""
    sites: Floats
    """(n, 2) probes that carry the local part."""
    local: Floats
    """(n, 3) what the smooth part leaves there; empty if the local part is off."""
    band: tuple[float, float, float]
    """Cycles over the frame's height, sine and cosine amplitude in log gain."""

    def at(self, points: Floats) -> Floats:
        """(m, 3) log gain at (m, 2) places, the bands left out."""
        value = _basis(points) @ self.coefficients
        if len(self.local):
            value = value + _averaged(points, self.sites, self.local)
        return np.clip(value, -MAX_LOG_GAIN, MAX_LOG_GAIN)

    def of_rows(self, rows: Floats) -> Floats:
        """Log gain of the bands at rows 0..1 of the frame."""
        turn = 2 * np.pi * self.band[0] * rows
        return np.asarray(self.band[1] * np.sin(turn) + self.band[2] * np.cos(turn), np.float64)

    def left(self, points: Floats, rows: Floats, wanted: Floats) -> Floats:
        """(n, 3) what remains of `wanted` at the probes; the local part foretells each of its sites from the others."""
        smooth = replace(self, local=np.zeros((0, 3)))
        left = wanted - smooth.at(points) - self.of_rows(rows)[:, None]
        if len(self.local):
            left = left - _averaged(points, self.sites, self.local, leave_out=True)
        return np.asarray(left, np.float64)


def smooth_field(points: Floats, wanted: Floats, trust: Floats, clipped: Flags) -> Field:
    """The quadratic part; a probe is right or wrong in all three channels at once.

    `wanted` (n, 3) log gains, where `clipped` (n, 3) only an upper bound; `trust` (n,) weights. At least one probe must
    be open in all channels; those become the `sites`.
    """
    basis, open_rows = _basis(points), ~clipped.any(1)
    middle = np.array([weighted_quantile(wanted[open_rows, c], trust[open_rows], 0.5) for c in range(3)])
    coefficients = np.zeros((6, 3))
    coefficients[0] = middle
    ridge = _RIDGE * max(1.0, _RIDGE_PROBES / int(open_rows.sum()))
    for _ in range(ROUNDS):
        over = basis @ coefficients - wanted
        off = np.where(clipped, np.maximum(over, 0.0), np.abs(over))
        worst = off.max(1)
        scale = max(0.04, 1.48 * weighted_quantile(worst[open_rows], trust[open_rows], 0.5))
        weights = trust * np.clip(1.0 - (worst / (3.5 * scale)) ** 2, 0.0, 1.0) ** 2 / trust.sum()
        counted = np.where(clipped & (over <= 0), 0.0, weights[:, None])
        weighted = counted.T[:, :, None] * basis
        normal = weighted.transpose(0, 2, 1) @ basis + np.diag(ridge)
        aim = (weighted * wanted.T[:, :, None]).sum(1)
        aim[:, 0] += ridge[0] * middle
        last, coefficients = coefficients, np.linalg.solve(normal, aim[:, :, None])[:, :, 0].T
        if np.abs(coefficients - last).max() < SETTLED:
            break
    return Field(coefficients, points[open_rows], np.zeros((0, 3)), (0.0, 0.0, 0.0))


def with_bands(field: Field, points: Floats, rows: Floats, wanted: Floats) -> Field:
    """Add the sinusoid over the rows that explains most, if it explains much."""
    left = wanted - field.at(points)
    common = np.clip(np.median(left, 1), -0.6, 0.6)
    spread = float(np.abs(common).mean())
    if spread < 0.03 or len(points) < BANDS_FROM:
        return field
    turn = 2 * np.pi * BAND_CYCLES[:, None] * rows
    sine, cosine = np.sin(turn), np.cos(turn)
    # Least squares of every frequency at once: normal equations of two unknowns, solved by hand.
    ss, cc, sc = (sine**2).sum(1) + 0.5, (cosine**2).sum(1) + 0.5, (sine * cosine).sum(1)
    ys, yc = sine @ common, cosine @ common
    determinant = ss * cc - sc**2
    a, b = (cc * ys - sc * yc) / determinant, (ss * yc - sc * ys) / determinant
    remaining = np.abs(common - a[:, None] * sine - b[:, None] * cosine).mean(1)
    best = int(np.argmin(remaining))
    if remaining[best] > BAND_FALL * spread:
        return field
    return replace(field, band=(float(BAND_CYCLES[best]), float(a[best]), float(b[best])))


def with_local(field: Field, points: Floats, rows: Floats, wanted: Floats) -> Field:
    """Add the neighbours' average where a hard shadow remains.

    A shadow is grey, and a probe in it is as dark as its neighbours are: each probe that the average would change must
    be foretold by the others in all three channels. A shopper's clothes are not.
    """
    left = field.left(points, rows, wanted)
    if np.percentile(np.abs(left), 75) < LOCAL_FROM:
        return field
    grey = np.repeat(left.mean(1, keepdims=True), 3, 1)
    foretold = _averaged(points, points, grey, leave_out=True)
    changed = np.abs(foretold[:, 0]) > 0.08
    agree = np.abs(left - foretold).max(1) < LOCAL_TOLERANCE
    if changed.sum() < 8 or agree[changed].mean() < LOCAL_AGREED:
        return field
    if np.abs(left - foretold)[changed].mean() > LOCAL_FALL * np.abs(left)[changed].mean():
        return field
    return replace(field, local=grey)


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value that `share` of the weight does not exceed."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][min(len(order) - 1, int(np.searchsorted(total, share * total[-1])))])


def _basis(points: Floats) -> Floats:
    x, y = points[:, 0], points[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)


def _averaged(points: Floats, sites: Floats, values: Floats, leave_out: bool = False) -> Floats:
    """(m, k) average of the (n, k) values of the sites near each point, fading to nothing far from every site.

    `leave_out`: the points are the sites, and none counts for itself.
    """
    scale = np.sqrt(0.5) / REACH
    here, there = (points * scale).astype(np.float32), (sites * scale).astype(np.float32)
    weights = np.subtract.outer(here[:, 0], there[:, 0]) ** 2
    weights += np.subtract.outer(here[:, 1], there[:, 1]) ** 2
    np.exp(-weights, out=weights)
    if leave_out:
        np.fill_diagonal(weights, 0.0)
    weights /= weights.sum(1, keepdims=True) + np.float32(0.3)
    # Not `@`: BLAS would wake its threads for so little, which on a busy device costs more than the product.
    return np.asarray(np.einsum("ij,jk->ik", weights, values.astype(np.float32)), np.float64)
