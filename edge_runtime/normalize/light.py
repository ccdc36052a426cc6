"""Light: a smooth gain field anchored on what does not sell, applied to the crops only where the evidence is clear.

Cameras encode about a power of the light, so a gain of the light is a gain of the encoded value: the field is fitted
as log(reference / frame) on flat probes (`field`). Every step is gated: a frame whose light is the commissioned light
is left alone, and a field must bring most of the probes nearer to the reference and take away most of what they miss.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.normalize.field import Field, Flags, Floats, smooth_field, weighted_quantile, with_bands, with_local
from edge_runtime.records import Light, LightDecision

WORTH = 0.07
"""Upper quartile of |log gain| below which the light is the commissioned light."""
IMPROVED = 0.7
"""Share of the probes that must come nearer; nearness to within NEAR counts as come nearer."""
NEAR = 0.04
AGREED, TOLERANCE = 0.5, 0.2
"""Half of the probes must then be met this closely in every channel."""
TOLERANCE_GROWTH, LARGE = 0.12, 0.5
"""Beyond this residual the tolerance grows in proportion: at night probes are noisy, and a rough match is worth much."""
FALL = 0.6
"""What the probes miss, CAP at most each, must fall to this share on average, ..."""
CAP = 0.6
FALL_CLEAR, IMPROVED_CLEAR = 0.8, 0.85
"""... or to this one if nearly all of them come nearer: faint bands stand against the noise of the probes."""
MIN_PROBES = 16
DARK, BRIGHT = 5.0, 245.0
PEDESTAL = 1.5
"""Grey levels added before the logarithm, so that noise near black weighs less."""
HALF_TRUST = 20.0
"""Level, the darkest channel of frame and reference, at which a probe weighs half: a log of little is mostly noise."""


def match(
    places: Floats, reference: Floats, frame: Floats, rows: Floats, trust: Floats | None = None
) -> tuple[Light, Field | None]:
    """What it takes to bring the frame's light to the reference's.

    `places` (n, 2) in half widths, `reference` and `frame` (n, 3) mean levels, `rows` (n,) place in the frame 0..1,
    `trust` (n,) how sure it is that nothing sells there (None: equally sure). The field is None where nothing is to be
    applied; `Light.decision` and `Light.detail` say why.
    """
    lit, clipped = frame.min(1) > DARK, frame >= BRIGHT
    usable = lit & ~clipped.any(1)
    count, share = int(usable.sum()), float(usable.mean()) if len(usable) else 0.0
    if count < MIN_PROBES:
        detail = f"{count} of {len(usable)} probes are neither black nor clipped; {MIN_PROBES} are needed"
        return Light(False, agreement=0.0, detail=detail, decision=LightDecision.UNSEEN, usable=share), None
    wanted = np.log((reference + PEDESTAL) / (frame + PEDESTAL))
    weights = _weights(reference, frame) if trust is None else _weights(reference, frame) * trust
    aim, sure = wanted[usable], weights[usable]
    before = _spread(aim, sure)
    if before < WORTH:
        light, field, left = _commissioned(before), None, aim
    else:
        field = _fitted(places[lit], rows[usable], wanted[lit], weights[lit], clipped[lit])
        left = field.left(places[usable], rows[usable], aim)
        light = _judged(field, places[usable], aim, left, sure)
    light = replace(light, usable=share, scatter=_scatter(left, reference[usable], sure))
    return light, field if light.applied else None


def _commissioned(residual: float) -> Light:
    detail, decision = "the commissioned light", LightDecision.COMMISSIONED
    return Light(False, residual_before=residual, residual_after=residual, detail=detail, decision=decision)


def _fitted(places: Floats, rows: Floats, wanted: Floats, weights: Floats, clipped: Flags) -> Field:
    """Smooth, then bands, then shadows; `rows` are those of the probes that are not clipped."""
    usable = ~clipped.any(1)
    field = smooth_field(places, wanted, weights, clipped)
    for step in (with_bands, with_local):
        field = step(field, places[usable], rows, wanted[usable])
    return field


def _judged(field: Field, places: Floats, aim: Floats, left: Floats, sure: Floats) -> Light:
    """The gate: whether the field is to be applied, and the figures that say so."""
    total = sure.sum()
    before, after = _spread(aim, sure), _spread(left, sure)
    slack = TOLERANCE_GROWTH * max(0.0, before - LARGE)
    agreement = float(sure @ (np.abs(left).max(1) < TOLERANCE + slack) / total)
    missed, misses = np.abs(aim).mean(1), np.abs(left).mean(1)
    improved = float(sure @ (misses < np.maximum(missed, NEAR)) / total)
    fall = float(sure @ np.minimum(misses, CAP)) / max(1e-9, float(sure @ np.minimum(missed, CAP)))
    good = improved >= IMPROVED and agreement >= AGREED
    good = good and (fall <= FALL or (fall <= FALL_CLEAR and improved >= IMPROVED_CLEAR))
    parts = [
        name for name, used in (("smooth", True), ("bands", field.band[0] > 0), ("shadow", len(field.local))) if used
    ]
    found = (
        f"{' + '.join(parts)} field: {100 * improved:.0f} % of probes nearer, {100 * fall:.0f} % of the miss is left"
    )
    if not good:
        return Light(False, (1.0, 1.0, 1.0), before, after, agreement, found, LightDecision.REFUSED)
    blue, green, red = np.exp(field.at(places).mean(0)).tolist()
    return Light(True, (blue, green, red), before, after, agreement, found, LightDecision.APPLIED)


def _weights(reference: Floats, frame: Floats) -> Floats:
    level = np.maximum(np.minimum(reference, frame).min(1), 1.0)
    return np.asarray(1.0 / (1.0 + (HALF_TRUST / level) ** 2), np.float64)


def _spread(left: Floats, sure: Floats) -> float:
    """Weighted upper quartile of what is left, over all channels."""
    return weighted_quantile(np.abs(left).ravel(), np.repeat(sure, 3), 0.75)


def _scatter(left: Floats, reference: Floats, sure: Floats) -> float:
    """Robust sigma in levels of the reference of what is left at the probes, over all channels."""
    return 1.48 * weighted_quantile(np.abs(left * reference).ravel(), np.repeat(sure, 3), 0.5)
