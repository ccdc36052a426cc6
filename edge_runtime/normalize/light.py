"""Light: a smooth gain field anchored on what does not sell, applied to the crops only where the evidence is clear.

Cameras encode about a power of the light, so a gain of the light is a gain of the encoded value: the field is fitted
as log(reference / frame) on flat probes, per channel, quadratic over the reference, with Tukey's weights (IRLS).
Where a hard shadow or mains bands remain, a local average and a row-wise sinusoid are tried on top. Every step is
gated: a frame whose light is the commissioned light is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Light

WORTH = 0.07
"""Upper quartile of |log gain| below which the light is the commissioned light."""
FALL = 0.6
"""The residual must fall to this share."""
AGREED = 0.75
TOLERANCE = 0.2
"""A probe agrees if its log gain is met this closely in every channel."""
TOLERANCE_GROWTH, LARGE = 0.12, 0.5
"""Beyond this residual the tolerance grows in proportion: at night probes are noisy, and a rough match is worth much."""
MIN_PROBES = 16
DARK, BRIGHT = 5.0, 245.0
PEDESTAL = 1.5
"""Grey levels added before the logarithm, so that noise near black weighs less."""
REACH = 0.13
"""Sigma of the local average in half widths of the reference."""
MAX_LOG_GAIN = 2.8
BAND_CYCLES = np.arange(1.5, 26.0, 0.5)
BAND_FALL = 0.65
LOCAL_AGREED = 0.7
_PRIOR = np.array([1e-4, 0.02, 0.02, 0.15, 0.15, 0.15])
"""Ridge per coefficient: the field is flat unless the probes insist."""

Floats = NDArray[np.float64]


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
            value = value + _kernel(points, self.sites) @ self.local
        return np.clip(value, -MAX_LOG_GAIN, MAX_LOG_GAIN)

    def of_rows(self, rows: Floats) -> Floats:
        """Log gain of the bands at rows 0..1 of the frame."""
        turn = 2 * np.pi * self.band[0] * rows
        return np.asarray(self.band[1] * np.sin(turn) + self.band[2] * np.cos(turn), np.float64)


def match(places: Floats, reference: Floats, frame: Floats, rows: Floats) -> tuple[Light, Field | None]:
    """What it takes to bring the frame's light to the reference's.

    `places` (n, 2) in half widths, `reference` and `frame` (n, 3) mean levels, `rows` (n,) place in the frame 0..1.
    The field is None where nothing is to be applied; `Light.detail` says why.
    """
    usable = (frame.min(1) > DARK) & (frame.max(1) < BRIGHT)
    count = int(usable.sum())
    if count < MIN_PROBES:
        return Light(False, agreement=0.0, detail=f"{count} usable probes, {MIN_PROBES} are needed"), None
    x, y = places[usable], rows[usable]
    wanted = np.log((reference[usable] + PEDESTAL) / (frame[usable] + PEDESTAL))
    before, _ = _verdict(wanted)
    if before < WORTH:
        return Light(False, residual_before=before, residual_after=before, detail="the commissioned light"), None
    field = _smooth(x, wanted)
    for step in (_with_bands, _with_local):
        field = step(field, x, y, wanted)
    slack = TOLERANCE_GROWTH * max(0.0, before - LARGE)
    after, agreement = _verdict(_left(field, x, y, wanted), slack)
    light = Light(False, (1.0, 1.0, 1.0), before, after, agreement)
    if after > FALL * before or agreement < AGREED:
        return replace(light, detail="no field explains the difference"), None
    mean = np.exp(field.at(x).mean(0))
    return replace(light, applied=True, gain=(float(mean[0]), float(mean[1]), float(mean[2]))), field


def _smooth(x: Floats, wanted: Floats) -> Field:
    """IRLS; a probe is right or wrong in all three channels at once."""
    basis = _basis(x)
    weights = np.ones(len(x))
    coefficients = np.zeros((6, 3))
    coefficients[0] = np.median(wanted, 0)
    for _ in range(6):
        off = np.abs(wanted - basis @ coefficients).max(1)
        scale = max(0.04, 1.48 * float(np.median(off)))
        weights = np.clip(1.0 - (off / (3.5 * scale)) ** 2, 0.0, 1.0) ** 2
        weighted = basis * weights[:, None]
        normal = weighted.T @ basis / len(x) + np.diag(_PRIOR) * 0.1
        anchor = np.diag(_PRIOR)[:, :1] * 0.1 * np.median(wanted, 0)
        coefficients = np.linalg.solve(normal, weighted.T @ wanted / len(x) + anchor)
    return Field(coefficients, x, np.zeros((0, 3)), (0.0, 0.0, 0.0))


def _with_bands(field: Field, x: Floats, rows: Floats, wanted: Floats) -> Field:
    """Add the sinusoid over the rows that explains most, if it explains much."""
    left = wanted - field.at(x)
    common = np.clip(np.median(left, 1), -0.6, 0.6)
    spread = float(np.abs(common).mean())
    if spread < 0.03 or len(x) < 2 * MIN_PROBES:
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


def _with_local(field: Field, x: Floats, rows: Floats, wanted: Floats) -> Field:
    """Add the neighbours' average where a hard shadow remains.

    A shadow is grey, and a probe in it is as dark as its neighbours are: each probe that the average would change must
    be foretold by the others in all three channels. A shopper's clothes are not.
    """
    left = _left(field, x, rows, wanted)
    if _verdict(left)[0] < WORTH / 2:
        return field
    grey = np.repeat(left.mean(1, keepdims=True), 3, 1)
    foretold = _kernel(x, x, leave_out=True) @ grey
    changed = np.abs(foretold[:, 0]) > 0.08
    agree = np.abs(left - foretold).max(1) < TOLERANCE
    if changed.sum() < 8 or agree[changed].mean() < LOCAL_AGREED:
        return field
    if np.abs(left - foretold)[changed].mean() > FALL * np.abs(left)[changed].mean():
        return field
    return replace(field, local=grey)


def _left(field: Field, x: Floats, rows: Floats, wanted: Floats) -> Floats:
    """(n, 3) what remains at the probes; for the local part each probe is left out of its own prediction."""
    smooth = replace(field, local=np.zeros((0, 3)))
    left = wanted - smooth.at(x) - field.of_rows(rows)[:, None]
    if len(field.local):
        left = left - _kernel(x, field.sites, leave_out=True) @ field.local
    return np.asarray(left, np.float64)


def _verdict(left: Floats, slack: float = 0.0) -> tuple[float, float]:
    """Residual and agreement."""
    return float(np.percentile(np.abs(left), 75)), float((np.abs(left).max(1) < TOLERANCE + slack).mean())


def _basis(points: Floats) -> Floats:
    x, y = points[:, 0], points[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)


def _kernel(points: Floats, sites: Floats, leave_out: bool = False) -> Floats:
    """(m, n) weights of the sites at each point; they sum to less than one far from every site."""
    d2 = ((points[:, None, :] - sites[None, :, :]) ** 2).sum(2)
    weights = np.exp(-0.5 * d2 / REACH**2)
    if leave_out:
        np.fill_diagonal(weights, 0.0)
    return np.asarray(weights / (weights.sum(1, keepdims=True) + 0.3), np.float64)
